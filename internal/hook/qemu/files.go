package qemu

import (
	"bytes"
	_ "embed"
	"errors"
	"io/fs"
	"path"

	"github.com/holdstill/holdstill/internal/hook"
	"github.com/holdstill/holdstill/internal/inifile"
)

const (
	redHat  = "/etc/qemu-ga" // Red Hat's directory; its unit starts the agent with the hook in it
	usual   = "/etc/qemu"
	hookDir = "fsfreeze-hook.d"

	agentConfig = usual + "/qemu-ga.conf" // read at start by every agent that is not told otherwise
	section     = "general"
	option      = "fsfreeze-hook"

	formerHook     = "00-former-fsfreeze-hook" // the program that was the agent's one hook
	configuredHook = "00-configured-hook"      // one that the agent's configuration named
)

//go:embed dispatcher.sh
var dispatcher []byte

func (p personality) Files(site hook.Site) ([]hook.File, error) {
	if _, err := site.Stat(redHat); err == nil {
		return p.hooks(site, redHat, "If SELinux is on: restorecon -Rv "+redHat+", and setsebool -P virt_qemu_ga_run_unconfined on. "+
			"The agent needs no restart, if /etc/sysconfig/qemu-ga names "+path.Join(redHat, option)+".")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	files, err := p.hooks(site, usual, "")
	if err != nil {
		return nil, err
	}
	present, mode, err := site.Present(agentConfig, 0o644)
	if err != nil {
		return nil, err
	}
	ours := path.Join(usual, option)
	if named, _ := inifile.Get(present, section, option); named != "" && named != ours {
		files = append(files, hook.File{Path: path.Join(usual, hookDir, configuredHook), Content: passOn(named), Mode: 0o755,
			Why: "runs " + named + " as before: " + agentConfig + " named it"})
	}
	return append(files, hook.File{
		Path: agentConfig, Content: inifile.Set(present, section, option, ours), Mode: mode,
		Why: "makes the agent run the hook (option fsfreeze-hook; the rest stays)",
		Register: "Restart the agent: systemctl restart qemu-guest-agent (Debian's unit starts it without -F, so this file enables the hook; " +
			"an -F of your own, in DAEMON_ARGS of /etc/default/qemu-guest-agent or in a drop-in, must name " + ours + " or nothing).",
	}), nil
}

// hooks are the dispatcher, what was there instead of it, and ours.
func (p personality) hooks(site hook.Site, dir, register string) ([]hook.File, error) {
	at := path.Join(dir, option)
	var files []hook.File
	former, mode, err := site.Present(at, 0)
	if err != nil {
		return nil, err
	}
	// One that knows the directory is a dispatcher: the stock one, or ours. It must not come to lie in the directory that it runs.
	if mode&0o111 != 0 && !bytes.Contains(former, []byte(hookDir)) {
		files = append(files, hook.File{Path: path.Join(dir, hookDir, formerHook), Content: former, Mode: 0o755,
			Why: "the hook that was there, which still runs"})
	} else if mode&0o111 != 0 && !bytes.Equal(former, dispatcher) {
		register = "The dispatcher that was at " + at + " is kept for an uninstall. If it did more than run " + hookDir + "/*, make that a file there. " + register
	}
	return append(files,
		hook.File{Path: path.Join(dir, hookDir, "50-holdstill"), Content: site.Script(p.Host(), "qemu"), Mode: 0o755, Why: "holds and releases"},
		hook.File{Path: at, Content: dispatcher, Mode: 0o755, Why: "runs the hooks, and lets the freeze fail when one of them does", Register: register},
	), nil
}

// passOn runs another program in its own place, as it may look for files beside itself.
func passOn(program string) []byte {
	return []byte("#!/bin/sh\nexec " + hook.Quote(program) + " \"$@\"\n")
}
