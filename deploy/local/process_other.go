//go:build !linux

package local

import "syscall"

// Other systems cannot tie a child's life to its parent's.
func endWithParent(*syscall.SysProcAttr) {}
