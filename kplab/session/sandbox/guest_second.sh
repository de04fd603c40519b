# The guest's process 1, in the host's tree under a tmpfs: mounts what a system has, runs the program, and ends the guest.
b=/run/guest/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/pts /dev/shm
$b mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
$b mount -t tmpfs shm /dev/shm
[ -n "$KPLAB_HOST_TMP" ] || $b mount -t tmpfs tmp /tmp
if [ ! -x /sbin/modprobe ]; then
  $b ln -s busybox /run/guest/modprobe
  echo /run/guest/modprobe >/proc/sys/kernel/modprobe
fi
$b ip link set lo up
$b hostname guest
export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "kplab-reached: tree"
# Words on purpose: the program and its arguments are one value on the kernel's command line.
$KPLAB_PROGRAM </dev/null
echo "kplab-ended: status $?"
$b reboot -f
