package localapi

import "syscall"

// ownGroup puts the child into a process group of its own, so that Ctrl-C in a
// terminal reaches the parent alone, which then stops its parts in order.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
