# The guest's process 1, after its first file system: mounts what a system has, lays a tmpfs over the host's tree, runs
# the program in it, and ends the guest.
# With KPLAB_GATE the program is begun before that tree is there: it says when it wants it (/mnt/go), enters it by itself
# (enter), and is told when it can (/mnt/there). Until then the guest can be saved: no 9p is mounted.
b=/run/guest/busybox
fail() { echo "kplab-failed: $1"; $b reboot -f; }

$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
[ -n "$KPLAB_HOST_TMP" ] || $b mount -t tmpfs tmp /tmp
# What is mounted here shows in the namespace that the program has made for itself.
$b mount -t tmpfs -o mode=755 tree /mnt
$b mount --make-shared /mnt
$b mkdir /mnt/lower /mnt/upper /mnt/root
$b ip link set lo up
$b hostname guest
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

tree() {
  $b mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=524288,cache=loose host /mnt/lower || fail "the host's tree (9p)"
  $b mount -t tmpfs -o mode=755 upper /mnt/upper || fail "a tmpfs"
  $b mkdir /mnt/upper/data /mnt/upper/work
  # The files that are here already lie over the same ones of the host's: they are in memory.
  $b mount -t overlay -o lowerdir=/:/mnt/lower,upperdir=/mnt/upper/data,workdir=/mnt/upper/work root /mnt/root ||
    fail "an overlay"
  for each in proc sys dev run tmp; do
    $b mkdir -p "/mnt/root/$each"
  done
  version=$($b uname -r)
  if [ "$KPLAB_MODULES" != "/lib/modules/$version" ]; then
    $b mkdir -p "/mnt/root/lib/modules/$version"
    $b mount -o bind "/mnt/root$KPLAB_MODULES" "/mnt/root/lib/modules/$version" || fail "the modules in $KPLAB_MODULES"
  fi
}

enter() {
  $b mount --make-rprivate /mnt
  $b sh /run/guest/enter || fail "to enter the host's tree"
  if [ ! -x /sbin/modprobe ]; then
    $b ln -s busybox /run/guest/modprobe
    echo /run/guest/modprobe >/proc/sys/kernel/modprobe
  fi
  echo "kplab-reached: tree"
}

# Words on purpose: the program and its arguments are one value on the kernel's command line.
if [ -n "$KPLAB_GATE" ]; then
  $b mkfifo /mnt/go /mnt/there
  exec 3<>/mnt/there
  $KPLAB_PROGRAM </dev/null &
  read -r _ </mnt/go || fail "the program has ended"
  tree
  echo there >&3
  enter
  wait $!
else
  tree
  enter
  $KPLAB_PROGRAM </dev/null
fi
echo "kplab-ended: status $?"
$b reboot -f
