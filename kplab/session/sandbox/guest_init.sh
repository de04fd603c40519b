#!/bin/busybox sh
# The guest's process 1, from its first file system: loads what reaches the host's tree, lays a tmpfs over that tree,
# and goes on in it (second.sh). Every value comes from the kernel's command line, as environment.
b=/bin/busybox
fail() { echo "kplab-failed: $1"; $b reboot -f; }

$b mount -t proc proc /proc
for module in /modules/*; do
  $b insmod "$module" || fail "the module ${module##*-} does not load"
done
echo "kplab-reached: kernel"
[ -z "$KPLAB_PROBE" ] || $b reboot -f

$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /lower || fail "the host's tree (9p)"
$b mount -t tmpfs -o mode=755 upper /upper || fail "a tmpfs"
$b mkdir /upper/data /upper/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work root /root || fail "an overlay"
for each in proc sys dev run tmp; do
  $b mkdir -p "/root/$each"
done
$b mount -t tmpfs -o mode=755 run /root/run
$b mkdir /root/run/guest
$b cp /bin/busybox /second /root/run/guest/
version=$($b uname -r)
if [ "$KPLAB_MODULES" != "/lib/modules/$version" ]; then
  $b mkdir -p "/root/lib/modules/$version"
  $b mount -o bind "/root$KPLAB_MODULES" "/root/lib/modules/$version" || fail "the modules in $KPLAB_MODULES"
fi
$b umount /proc
exec $b switch_root /root /run/guest/busybox sh /run/guest/second
