//go:build !linux

package main

// widenTimers is for Linux.
func widenTimers() {}
