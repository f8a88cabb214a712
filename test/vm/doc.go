// Package vm tests what only a whole machine can show: the power goes in the middle of a backup, systemd boots it again, and the boot
// unit takes back what was left, with nobody there; services are real systemd units; and the clock can be set without harm.
//
// The machine is a Debian 12 under qemu, with or without KVM, from scripts/vm-image.sh; Holdstill gets into it by `make install`.
// `make test-vm` runs this: it has the build tag vm, as it takes minutes and packages that nothing else needs.
package vm
