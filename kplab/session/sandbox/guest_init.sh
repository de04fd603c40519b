#!/bin/busybox sh
# The guest's process 1, from its first file system: loads what reaches the host's tree, and goes on (second) in the
# folder /host, where some of the host's files are already. Every value comes from the kernel's command line, as
# environment.
b=/bin/busybox
fail() { echo "kplab-failed: $1"; $b reboot -f; }

$b mount -t proc proc /proc
for module in /modules/*; do
  $b insmod "$module" || fail "the module ${module##*-} does not load"
done
echo "kplab-reached: kernel"
[ -z "$KPLAB_PROBE" ] || $b reboot -f
$b umount /proc

# A mount of its own, so that it can be changed for the whole tree later (pivot_root(2)).
$b mount -o bind /host /host
$b mount -t tmpfs -o mode=755 run /host/run
$b mkdir /host/run/guest
$b cp /bin/busybox /second /enter /host/run/guest/
cd /host || fail "a folder for the host's files"
exec $b chroot . /run/guest/busybox sh /run/guest/second
