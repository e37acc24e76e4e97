//go:build race

package picture

// The race detector's builds of bytes.Buffer allocate what it grows by twice.
const growths = 2
