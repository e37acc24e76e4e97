//go:build !race

package picture

const growths = 1
