#!/bin/sh
# Makes the root file system of a device: Debian with systemd, sshd, sudo and Podman, a
# person called pi who may become root, and no host key. $1: the tar file to write.
set -eu
exec mmdebstrap --quiet --variant=minbase \
  --include=systemd,systemd-sysv,dbus,openssh-server,sudo,ca-certificates,iproute2,iptables,podman,runc,netavark,aardvark-dns \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --customize-hook='chroot "$1" useradd --create-home --shell /bin/bash pi' \
  --customize-hook='rm -f "$1"/etc/ssh/ssh_host_* && : >"$1"/etc/machine-id' \
  --customize-hook='printf "pi ALL=(ALL:ALL) NOPASSWD: ALL\n" >"$1"/etc/sudoers.d/pi && chmod 0440 "$1"/etc/sudoers.d/pi' \
  --customize-hook='printf "HostKey /etc/ssh/test/host_key\nAuthorizedKeysFile /etc/ssh/test/authorized_keys .ssh/authorized_keys\n" >"$1"/etc/ssh/sshd_config.d/test.conf' \
  --customize-hook='printf "[containers]\ndefault_ulimits = [\"nofile=20000:20000\", \"nproc=4096:4096\"]\n[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n[network]\ndefault_subnet = \"10.90.0.0/16\"\n" >"$1"/etc/containers/containers.conf' \
  --customize-hook='systemctl --root="$1" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer podman-auto-update.timer fstrim.timer getty@tty1.service console-getty.service' \
  --customize-hook='chroot "$1" apt-get clean' \
  bookworm "$1"
