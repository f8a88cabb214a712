package scripts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
)

// The values of what a plugin's configuration leaves out, and the most that it can ask for.
const (
	usualTimeout = 10 * time.Second
	mostTimeout  = 1800 * time.Second
	mostRetries  = 1000
)

// The two phases.
const (
	pre  = "pre"
	post = "post"
)

// script is one of a plugin's two.
type script struct {
	phase   string
	path    string
	params  []string // may hold passwords: they go into no ledger, log or catalogue
	retries int
}

// code is the script's own of a pair.
func (s script) code(pre int) int {
	if s.phase == post {
		return pre + 1
	}
	return pre
}

// plugin is a VMSnapshotScriptPluginConfig.json, understood.
type plugin struct {
	name      string
	config    string
	pre, post script
	timeout   time.Duration // of each script, over all its tries
	hostEnds  bool          // the timeout is the host's, as that is the lesser
	goesOn    bool          // continueBackupOnFailure
	freeze    bool          // fsFreezeEnabled
	notes     []string
}

func (p *plugin) facts() database.Plugin {
	return database.Plugin{
		Name: p.name, Config: p.config, Pre: p.pre.path, Post: p.post.path, Retries: [2]int{p.pre.retries, p.post.retries},
		Timeout: p.timeout.Seconds(), Continue: p.goesOn, Freeze: p.freeze,
	}
}

// unusable tells why a plugin's scripts cannot be run. A post that cannot run keeps its pre from running: who would release it?
func (p *plugin) unusable() *Failure {
	if f := p.pre.check(); f != nil {
		return f
	}
	return p.post.check()
}

// readPlugin reads and checks a plugin's configuration; most is the host's limit of time.
func readPlugin(path, name string, most time.Duration) (*plugin, *Failure) {
	if f := checkFile(path, pluginFile); f != nil {
		return nil, f
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, failure(codePluginParse, "look at the file", "cannot read the plugin's configuration: %v", err)
	}
	p := &plugin{name: name, config: path, pre: script{phase: pre}, post: script{phase: post}, timeout: usualTimeout, goesOn: true, freeze: true}
	if err := p.parse(content); err != nil {
		return nil, failure(codePluginParse, "correct the file", "cannot understand %s: %v", path, err)
	}
	if most < p.timeout {
		p.timeout, p.hostEnds = most, true
	}
	return p, nil
}

// parse reads all keys that are known, and tells all their faults; others are left alone, as Azure does.
func (p *plugin) parse(content []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	var keys map[string]any
	if err := decoder.Decode(&keys); err != nil {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something stands behind the JSON object")
	}
	r := &reader{keys: keys}
	if name := r.text("pluginName", false); p.name == "" {
		p.name = name
	}
	p.pre.path, p.post.path = r.place("preScriptLocation"), r.place("postScriptLocation")
	p.pre.params, p.post.params = r.texts("preScriptParams"), r.texts("postScriptParams")
	p.pre.retries, p.post.retries = r.count("preScriptNoOfRetries"), r.count("postScriptNoOfRetries")
	p.timeout = r.seconds("timeoutInSeconds", p.timeout, mostTimeout)
	r.seconds("ScriptsExecutionPollTimeSeconds", 0, mostTimeout) // nothing is polled here
	p.goesOn, p.freeze = r.truth("continueBackupOnFailure"), r.truth("fsFreezeEnabled")
	p.notes = r.notes
	if p.name == "" {
		p.name = strings.TrimSuffix(filepath.Base(p.config), filepath.Ext(p.config))
	}
	return joined(r.faults)
}
