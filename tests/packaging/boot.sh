#!/bin/sh
# Becomes process 1 of a machine that is a copy-on-write view of this one. Runs in new namespaces.
# Arguments: a directory to work in, and one that the machine sees as /mnt.
set -e
work=$1
shared=$2
root=$work/root

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$work"
mkdir "$work/upper" "$work/over" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/over" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs "$root/run" # as initramfs-tools does
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount --bind "$shared" "$root/mnt"

# What this machine does at its start is none of the other's business.
: >"$root/etc/fstab"
rm -rf "$root"/etc/systemd/system/*.wants "$root/usr/sbin/policy-rc.d"
rm -rf "$root/var/log/journal"
python3 -c 'import fcntl, socket, struct
with socket.socket() as s:  # the loopback interface goes up
    fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 0x49))'
exec chroot "$root" /usr/bin/env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --show-status=false
