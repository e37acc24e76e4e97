// Package fusetest is what tests that mount share: a guard by which a test that
// leaves a mount, a goroutine or a file descriptor behind fails, unmounting as
// root and as another user, and the one line in which a test says what it can't
// do here.
//
// Limitations: the guard looks at the whole process, so guarded tests do not
// run in parallel with each other.
package fusetest
