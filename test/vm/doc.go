// Package vm tests what only a whole machine can show: the power goes in the middle of a backup, systemd boots it again, and the boot
// unit takes back what was left, with nobody there; services are real systemd units; and the clock can be set without harm. In a
// second machine all file systems are frozen by the QEMU guest agent, and qemu takes the snapshot.
//
// The machine is a Debian 12 from scripts/vm-image.sh under qemu, emulated: KVM is missing, or half there, on most build machines.
// Holdstill gets into it by `make install`. `make test-vm` runs all this; it has the build tag vm, as it takes minutes and
// packages that nothing else needs.
package vm
