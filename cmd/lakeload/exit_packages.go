package main

// exitCodeOfPackages gives the exit codes of the errors of our packages.
func exitCodeOfPackages(error) exitCode {
	return exitFailed
}
