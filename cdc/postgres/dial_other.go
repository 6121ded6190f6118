//go:build !linux

package postgres

import "syscall"

// limitUnanswered does nothing: the system has no such option.
func limitUnanswered(string, string, syscall.RawConn) error { return nil }
