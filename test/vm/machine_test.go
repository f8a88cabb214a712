//go:build vm

package vm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
)

const (
	// bootLimit is for a boot until the agent answers: half a minute under emulation, some minutes where others use the processors.
	bootLimit = 10 * time.Minute
	// waitLimit is for anything that a test waits for in the machine.
	waitLimit = 5 * time.Minute
)

// machine is the virtual machine. Its disks lie in a lab, so they are gone with us, and so is qemu.
type machine struct {
	t     *testing.T // of the part that runs
	lab   *lab.Lab
	image string // directory of vm-image.sh
	boots int
	qemu  *exec.Cmd
	gone  chan struct{} // closed when qemu has ended
	agent *agent
}

// newMachine makes the disks: an overlay of the image for the system, an empty one for data, and one that holds Holdstill.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, lab: labtest.New(t), image: os.Getenv("HOLDSTILL_VM")}
	if m.image == "" {
		m.image = "/var/cache/holdstill/vm"
	}
	if _, err := os.Stat(filepath.Join(m.image, ".complete")); err != nil {
		t.Fatalf("%v: make test-vm builds the machine's disk", err)
	}
	m.host("qemu-img", "create", "-q", "-f", "qcow2", "-b", filepath.Join(m.image, "root.img"), "-F", "raw", m.file("system.qcow2"))
	// A fresh qcow2: qemu keeps its new tables in memory until the machine flushes, so a kill loses what was not flushed.
	m.host("qemu-img", "create", "-q", "-f", "qcow2", m.file("data.qcow2"), "4G")
	tree := m.file("tools")
	m.host("make", "-C", "../..", "install", "DESTDIR="+tree, "BIN="+m.file("holdstill"), "GOFLAGS=-tags=fault")
	m.host("truncate", "-s", "256M", m.file("tools.img"))
	m.host("mkfs.ext4", "-q", "-F", "-d", tree, m.file("tools.img"))
	t.Cleanup(func() { // before the lab goes
		if t.Failed() {
			m.tell()
		}
		m.cut()
	})
	return m
}

func (m *machine) file(name string) string { return filepath.Join(m.lab.Dir(), name) }

func (m *machine) host(name string, args ...string) {
	m.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		m.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// part runs a subtest in the machine; nothing follows one that failed, as each finds the machine as the one before left it.
func (m *machine) part(name string, work func()) {
	m.t.Helper()
	outer := m.t
	ok := outer.Run(name, func(t *testing.T) {
		m.t = t
		defer func() { m.t = outer }()
		begun := time.Now()
		work()
		t.Logf("%.0f s", time.Since(begun).Seconds())
	})
	if !ok {
		outer.FailNow()
	}
}

// boot switches the machine on and waits until systemd has nothing more to start.
func (m *machine) boot() {
	m.t.Helper()
	begun := time.Now()
	m.boots++
	m.power()
	m.reach()
	m.await("the end of the boot", `case $(systemctl is-system-running) in running|degraded) ;; *) false ;; esac`)
	m.t.Logf("the machine was up after %.0f s", time.Since(begun).Seconds())
}

// reach waits for the agent.
func (m *machine) reach() {
	m.t.Helper()
	for deadline := time.Now().Add(bootLimit); ; {
		a, err := dialAgent(m.file("agent"), 2*time.Second)
		if err == nil {
			m.agent = a
			return
		}
		select {
		case <-m.gone:
			m.t.Fatalf("qemu ended: %s", m.read("qemu.log"))
		case <-time.After(250 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("the machine does not come up: %v\n%s", err, m.read("console.log"))
		}
	}
}

// power starts qemu from a thread of its own, which lives as long as qemu: a death signal is sent when the thread that
// started the process ends, not the process of that thread. The lab kills qemu as well.
func (m *machine) power() {
	m.t.Helper()
	console, err := os.OpenFile(m.file("qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Fatal(err)
	}
	defer console.Close()
	_ = os.Remove(m.file("agent"))
	cmd := exec.Command("nice", append([]string{"-n", "5", "qemu-system-x86_64"}, m.arguments()...)...)
	cmd.Stdout, cmd.Stderr = console, console
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, gone := make(chan error), make(chan struct{})
	go func() {
		defer close(gone)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		m.t.Fatal(err)
	}
	m.qemu, m.gone = cmd, gone
	if err := m.lab.Adopt(cmd.Process.Pid); err != nil {
		m.t.Fatal(err)
	}
}

// arguments are qemu's. An old processor model is a third cheaper to emulate than the newest: fewer page tables, shorter vectors.
func (m *machine) arguments() []string {
	disk := func(name, format string) []string {
		return []string{"-drive", fmt.Sprintf("if=none,id=%s,file=%s,format=%s", name, m.file(name+"."+map[string]string{"qcow2": "qcow2", "raw": "img"}[format]), format),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=%s,serial=%s", name, name)}
	}
	args := []string{"-name", "holdstill-test", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "Nehalem",
		"-smp", "2", "-m", "1536", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "file:" + m.file("console.log"),
		"-kernel", filepath.Join(m.image, "vmlinuz"), "-initrd", filepath.Join(m.image, "initrd.img"),
		"-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off audit=0 systemd.show_status=0",
		"-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
		"-qmp", "unix:" + m.file("monitor") + ",server=on,wait=off", "-device", "pcie-root-port,id=bay", // a disk can be put into it
		"-chardev", "socket,id=agent,server=on,wait=off,path=" + m.file("agent"), "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
		"-chardev", "file,id=commits,path=" + m.commits(), "-device", "virtserialport,chardev=commits,name=commits"}
	args = append(args, disk("system", "qcow2")...)
	args = append(args, disk("data", "qcow2")...)
	return append(args, disk("tools", "raw")...)
}

// commits is where the writer in the machine tells each commit that the server has acknowledged, one file a boot.
func (m *machine) commits() string { return m.file(fmt.Sprintf("commits-%d", m.boots)) }

// cut takes the power away.
func (m *machine) cut() {
	if m.qemu == nil {
		return
	}
	_ = m.qemu.Process.Kill()
	<-m.gone
	if m.agent != nil {
		_ = m.agent.conn.Close()
	}
	m.qemu, m.agent = nil, nil
}

// run runs a script in the machine, whatever its end.
func (m *machine) run(script string, input string) outcome {
	m.t.Helper()
	out, err := m.agent.run(script, input)
	if err != nil {
		m.t.Fatalf("%v, at: %s", err, script)
	}
	return out
}

// sh runs a script that must succeed and returns what it printed.
func (m *machine) sh(script string) string {
	m.t.Helper()
	out := m.run(script, "")
	if out.Code != 0 {
		m.t.Fatalf("exit code %d of: %s\n%s%s", out.Code, script, out.Stdout, out.Stderr)
	}
	return string(bytes.TrimSpace(out.Stdout))
}

// await runs a script again and again until it succeeds.
func (m *machine) await(what, script string) {
	m.t.Helper()
	var last outcome
	for deadline := time.Now().Add(waitLimit); time.Now().Before(deadline); time.Sleep(250 * time.Millisecond) {
		if last = m.run(script, ""); last.Code == 0 {
			return
		}
	}
	m.t.Fatalf("waited in vain for %s: %s%s", what, last.Stdout, last.Stderr)
}

func (m *machine) read(name string) string {
	content, err := os.ReadFile(m.file(name))
	return string(content) + errorText(err)
}

func errorText(err error) string {
	if err == nil || errors.Is(err, os.ErrNotExist) {
		return ""
	}
	return err.Error()
}

// tell prints what a person would look at after a failure.
func (m *machine) tell() {
	if m.agent == nil {
		m.t.Log(m.read("console.log"))
		return
	}
	out, err := m.agent.run("journalctl --no-pager -b -n 60 -u holdstill-recover -u mariadb -u backup -u writer; systemctl --failed --no-pager; "+
		"systemctl list-jobs --no-pager; tail -n +1 /var/lib/holdstill/runs/* 2>/dev/null", "")
	m.t.Logf("%s%s%s", out.Stdout, out.Stderr, errorText(err))
}
