// Package repository is the seam to the store that keeps points off the machine.
package repository
