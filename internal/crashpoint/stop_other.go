//go:build !unix

package crashpoint

const canStop = false

func stop() {}
