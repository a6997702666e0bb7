#!/bin/sh
# Boots systemd in a root, in namespaces made by unshare:  boot.sh LOWER WORK
# LOWER is only read; what is written goes to WORK. The network is the host's, so that servers of the test are in reach;
# the host's kernel settings are not to be written.
set -e
lower=$1 work=$2 root=$2/root
mkdir -p "$work/upper" "$work/overlay" "$root"
mount --make-rprivate /
mount -t overlay -o "lowerdir=$lower,upperdir=$work/upper,workdir=$work/overlay" overlay "$root"
mkdir -p "$root/packages"
mount --bind "$work/packages" "$root/packages"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
	touch "$root/dev/$device"
	mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# No chroot: a process in one cannot make the namespaces of users that units ask for.
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l old
mount --make-rshared / # units' mounts, such as that of their credentials, reach each other through process 1
exec env -i PATH=/usr/sbin:/usr/bin container=test /lib/systemd/systemd --log-target=console --show-status=no
