package systemdtest

import (
	"fmt"
	"path"
	"strings"
)

// FillDisk leaves no room in a directory: a small file system that is full is mounted
// over it.
func (d *Device) FillDisk(directory string) {
	d.t.Helper()
	d.Run(fmt.Sprintf(`mkdir -p %[1]s && mount -t tmpfs -o size=64k,mode=755 full %[1]s
dd if=/dev/zero of=%[1]s/full bs=4k 2>/dev/null; test "$(df -Pk %[1]s | awk 'NR==2 {print $4}')" = 0`, directory))
}

// FreeDisk ends FillDisk.
func (d *Device) FreeDisk(directory string) {
	d.t.Helper()
	d.Run("umount -l " + directory)
}

// Hide takes a program away, given by its path.
func (d *Device) Hide(program string) {
	d.t.Helper()
	d.Run(fmt.Sprintf("mv %[1]s %[1]s.hidden", program))
}

// Restore ends Hide.
func (d *Device) Restore(program string) {
	d.t.Helper()
	d.Run(fmt.Sprintf("mv %[1]s.hidden %[1]s", program))
}

// Pretend puts a program before the device's own one in the PATH, which prints what a
// shell's text prints. A container has the kernel and the clock of the machine, so a
// device of another architecture, or whose clock is off, can be had in this way alone: it
// shows what a person is told of what the device's programs say, not how the agent does.
func (d *Device) Pretend(program, text string) {
	d.t.Helper()
	file := path.Join("/usr/local/bin", program)
	d.Feed([]byte("#!/bin/sh\n"+text+"\n"), fmt.Sprintf("cat >%[1]s && chmod 755 %[1]s", file))
}

// StopPretending ends Pretend.
func (d *Device) StopPretending(program string) {
	d.t.Helper()
	d.Run("rm " + path.Join("/usr/local/bin", program))
}

// RequirePassword makes User give a password to become root.
func (d *Device) RequirePassword(password string) {
	d.t.Helper()
	d.Feed([]byte(User+":"+password+"\n"), "chpasswd")
	d.Feed([]byte(User+" ALL=(ALL:ALL) ALL\n"), "cat >/etc/sudoers.d/"+User)
}

// Files lists the device's files with their type, mode, owner, and the size of those that
// are no directory, but not what a device changes by itself: logs, caches, the state of
// its programs, and what a Podman keeps.
func (d *Device) Files() map[string]string {
	d.t.Helper()
	const pruned = `-path /var/log -o -path /var/cache -o -path /var/lib/containers -o -path /var/lib/systemd -o -path /var/lib/sudo -o -path /var/lib/private` +
		` -o -path /tmp -o -path /var/tmp -o -path /etc/hosts -o -path /etc/containers/networks`
	out := d.Run(`find / -xdev \( ` + pruned + ` \) -prune -o -type d -printf '%p\t%y %m %U:%G\n' -o -printf '%p\t%y %m %U:%G %s %l\n'`)
	files := map[string]string{}
	for line := range strings.Lines(out) {
		file, about, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		files[file] = about
	}
	return files
}
