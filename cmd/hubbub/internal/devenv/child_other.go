//go:build !unix

package devenv

import "syscall"

// childAttr asks for nothing: process groups are an affair of Unix.
func childAttr() *syscall.SysProcAttr { return nil }
