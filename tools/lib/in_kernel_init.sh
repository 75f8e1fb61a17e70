#!/bin/busybox sh
# The first process of the machine of in_kernel.sh: gets the host's files in place, runs the command, and switches off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
writable=$(sed 's/.*writable=\([^ ]*\).*/\1/' /proc/cmdline)
while read -r module; do insmod "/modules/$module"; done </modules/order
options=trans=virtio,version=9p2000.L,msize=524288
mount -t 9p -o "ro,$options,cache=loose" host /host
mount -t tmpfs layer /layer
mkdir /layer/upper /layer/work
mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work overlay /top
mount -t 9p -o "$options" writable "/top$writable"
touch "/top$writable/.in_kernel_begun"
for dir in proc sys dev tmp run; do mkdir -p "/top/$dir"; done
mount -t proc proc /top/proc
mount -t sysfs sys /top/sys
mount -t devtmpfs dev /top/dev
mkdir -p /top/dev/pts /top/dev/shm
mount -t devpts pts /top/dev/pts
mount -t tmpfs shm /top/dev/shm
mount -t tmpfs run /top/run
mount -t cgroup2 cgroup /top/sys/fs/cgroup
mkdir -p /top/dev/fd && rmdir /top/dev/fd
ln -s /proc/self/fd /top/dev/fd
ifconfig lo 127.0.0.1 up
{
    chroot /top /bin/sh "$writable/.in_kernel" </dev/null 2>&1
    echo $? >"/top$writable/.in_kernel_status"
} | cat >/dev/console # a pipe: nobody shows progress to a terminal
sync
poweroff -f
