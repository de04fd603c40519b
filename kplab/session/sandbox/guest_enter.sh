# Makes the host's tree (/mnt/root) the root of this mount namespace, and of every process in it.
b=/run/guest/busybox
$b mount --move /proc /mnt/root/proc
$b mount --move /sys /mnt/root/sys
$b mount --move /dev /mnt/root/dev
[ -n "$KPLAB_HOST_TMP" ] || $b mount --move /tmp /mnt/root/tmp
$b mount --move /run /mnt/root/run
b=/mnt/root/run/guest/busybox
$b mkdir -p /mnt/root/run/old && cd /mnt/root && $b pivot_root . run/old && cd / && /run/guest/busybox umount -l /run/old
