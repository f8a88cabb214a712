package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// sshdConfig has nothing of the system's: a host key of its own, one user's key, and no way to anything but files.
const sshdConfig = `ListenAddress %s
HostKey %s
AuthorizedKeysFile %s
AuthenticationMethods publickey
PermitRootLogin prohibit-password
ForceCommand internal-sftp
Subsystem sftp internal-sftp
PidFile none
UsePAM no
UseDNS no
# our directory may lie in one that others can write to
StrictModes no
# a test may open many connections at once
MaxStartups 1000
MaxSessions 1000
LogLevel VERBOSE
`

// prepareSFTP has the system's sshd serve root's files to a key that is made here.
func prepareSFTP(e *Endpoint, dir string) (*process, error) {
	sshd, err := installed("sshd")
	if err != nil {
		return nil, err
	}
	keygen, err := installed("ssh-keygen")
	if err != nil {
		return nil, err
	}
	// where sshd locks its unprivileged half in; the boot makes it, if there is one
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, err
	}
	e.User, e.KeyFile, e.KnownHosts, e.Path = "root", filepath.Join(dir, "key"), filepath.Join(dir, "known_hosts"), e.Data
	hostKey := filepath.Join(dir, "host_key")
	for _, key := range []string{e.KeyFile, hostKey} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", "holdstill-test", "-f", key).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen cannot make %s: %w: %s", key, err, out)
		}
	}
	if err := e.trust(hostKey + ".pub"); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sshd_config")
	text := fmt.Sprintf(sshdConfig, e.Addr, hostKey, e.KeyFile+".pub")
	return &process{args: []string{sshd, "-D", "-e", "-f", config}}, os.WriteFile(config, []byte(text), 0o600)
}

// trust writes the known_hosts file for the address.
func (e *Endpoint) trust(publicKey string) error {
	key, err := os.ReadFile(publicKey)
	if err != nil {
		return err
	}
	words := strings.Fields(string(key))
	return os.WriteFile(e.KnownHosts, fmt.Appendf(nil, "[%s]:%d %s %s\n", e.Host, e.Port, words[0], words[1]), 0o600)
}
