//go:build !unix

package storetest

func used() usage { return usage{} }
