package scriptcheck

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func (w *walker) callExpr(x *syntax.CallExpr, c context) {
	for _, a := range x.Assigns {
		w.assign(a, c)
	}
	words := w.fields(x.Args, c)
	if len(words) > 0 {
		w.call(words, x, c)
	}
}

// call follows a command by its words.
func (w *walker) call(words []text, n syntax.Node, c context) {
	if w.seq++; w.seq > most {
		return
	}
	words = w.bare(words)
	if len(words) == 0 {
		return
	}
	cmd := &command{seq: w.seq, foreign: w.foreign, name: path.Base(words[0].s), words: words, when: c.when, piped: c.out != nil && c.out.pipe}
	if n != nil {
		cmd.line = w.line(n.Pos())
	} else {
		cmd.line, _ = words[0].place(0)
	}
	if !w.mute {
		w.v.commands = append(w.v.commands, cmd)
	}
	if f, ok := w.funcs[words[0].s]; ok {
		w.callFunction(f, words, cmd.line, c)
		return
	}
	w.builtin(cmd, n, c)
}

// callFunction follows a function's body with the arguments of this call.
func (w *walker) callFunction(f function, words []text, line int, c context) {
	name := words[0].s
	w.called[name] = true
	if w.depth > deepest/2 { // it may call itself
		return
	}
	c.args = words[1:]
	here, foreign := w.here, w.foreign
	if f.foreign {
		w.here, w.foreign = line, true
	}
	w.stmt(f.decl.Body, c)
	w.here, w.foreign = here, foreign
}

// builtin follows what the shell or a well-known program does with its words.
func (w *walker) builtin(cmd *command, n syntax.Node, c context) {
	words := cmd.words
	switch name := cmd.name; name {
	case "[", "test":
		if !w.mute && !w.foreign {
			var all []string
			for _, t := range words {
				all = append(all, t.s)
			}
			w.v.tests = append(w.v.tests, test{cmd.line, "", source(n)}, test{cmd.line, "", strings.Join(all, " ")})
		}
	case "echo", "printf":
		w.print(words[1:], c)
	case "cat", "tee", "sed", "tr":
		w.pass(name, words[1:], c)
	case "sleep", "tail", "read":
		if c.out != nil && (name != "tail" || slices.ContainsFunc(words, func(t text) bool { return strings.HasPrefix(t.s, "-f") || strings.HasPrefix(t.s, "-F") })) {
			c.out.live = true
		}
	case "mkfifo":
		for _, t := range words[1:] {
			w.fifos[t.s] = true
		}
	case "set":
		w.set(words[1:])
	case ".", "source":
		w.load(words[1:], cmd.line, c)
	case "eval":
		w.nested(joined(words[1:]), cmd.line, c)
	case "sh", "bash", "dash", "su", "ksh":
		w.nestedShell(words[1:], cmd.line, c)
	case "trap":
		w.trap(words[1:], cmd.line, c)
	case "mysql", "mariadb":
		w.client(cmd, c)
	}
}

// wrappers run the rest of their words. The value lists their options that have a value of their own.
var wrappers = map[string]string{
	"sudo": "-u -g -h -p -C", "doas": "-u", "env": "-u -C", "nice": "-n", "ionice": "-c -n -p", "timeout": "-s -k --signal --kill-after",
	"nohup": "", "setsid": "", "exec": "-a", "command": "", "builtin": "", "stdbuf": "-i -o -e", "time": "", "runuser": "-u", "chronic": "", "flock": "-w -E",
	"docker": "-u -e -w --user --env", "podman": "-u -e -w --user --env",
}

var isAssignment = regexp.MustCompile(`^[A-Za-z_]\w*=`)

// bare takes the wrappers away: sudo -u root timeout 5 mysql is mysql.
func (w *walker) bare(words []text) []text {
	for len(words) > 1 {
		name := path.Base(words[0].s)
		valued, ok := wrappers[name]
		if !ok {
			break
		}
		rest := words[1:]
		if name == "docker" || name == "podman" {
			if rest[0].s != "exec" {
				break
			}
			rest = rest[1:]
		}
		rest = w.skipOptions(rest, valued)
		if len(rest) > 0 && slices.Contains([]string{"timeout", "docker", "podman", "flock"}, name) {
			rest = rest[1:] // the time, the container, the file
		}
		if name == "exec" && len(rest) > 0 && path.Base(rest[0].s) == "bash" && !w.mute {
			w.v.reexec = true
		}
		if len(rest) == 0 {
			return nil
		}
		words = rest
	}
	return words
}

func (w *walker) skipOptions(words []text, valued string) []text {
	for len(words) > 0 {
		s := words[0].s
		switch {
		case slices.Contains(strings.Fields(valued), s) && len(words) > 1:
			words = words[2:]
		case strings.HasPrefix(s, "-"):
			words = words[1:]
		case isAssignment.MatchString(s): // env NAME=value
			name, value, _ := strings.Cut(s, "=")
			line, foreign := words[0].place(0)
			if !w.mute {
				w.v.assigned = append(w.v.assigned, assignment{name: name, value: value, line: line, known: !strings.Contains(value, "$"), foreign: foreign})
			}
			words = words[1:]
		default:
			return words
		}
	}
	return words
}

func (w *walker) print(words []text, c context) {
	for len(words) > 0 && (words[0].s == "-e" || words[0].s == "-n" || words[0].s == "-ne" || words[0].s == "--") {
		words = words[1:]
	}
	if c.out == nil {
		return
	}
	if len(words) > 1 && strings.Contains(words[0].s, "%s") { // printf '%s;\n' ...
		for _, t := range words[1:] {
			c.out.text.append(t)
			c.out.text.add(";\n", 0, false, false)
		}
		return
	}
	all := joined(words)
	c.out.text.append(all)
	line, foreign := all.place(len(all.s))
	c.out.text.add("\n", line, false, foreign)
}

// pass hands on what a filter reads.
func (w *walker) pass(name string, words []text, c context) {
	content, live, named := c.in.text, c.in.live, false
	for _, t := range words {
		switch {
		case strings.HasPrefix(t.s, "-"):
		case name == "tee":
			w.files[t.s] = content
		case name == "cat":
			named = true
			in := w.readFile(t.s)
			content.append(in.text)
			live = live || in.live
		}
	}
	if c.out == nil {
		return
	}
	c.out.text.append(content)
	c.out.live = c.out.live || live || name == "cat" && !named && content.s == ""
}

func (w *walker) set(words []text) {
	for i, t := range words {
		short := strings.HasPrefix(t.s, "-") && !strings.HasPrefix(t.s, "--") && strings.Contains(t.s, "e")
		long := t.s == "errexit" && i > 0 && strings.HasPrefix(words[i-1].s, "-") && strings.HasSuffix(words[i-1].s, "o")
		if (short || long) && !w.mute {
			w.v.errexit = true
		}
	}
}
