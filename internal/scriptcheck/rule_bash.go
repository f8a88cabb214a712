package scriptcheck

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// What dash makes of what it does not know.
const (
	stops    = "sh is dash on Debian and Ubuntu: it stops there with a syntax error, with nothing after it done"
	notFound = "sh is dash on Debian and Ubuntu: it looks for a command of that name, and goes on as if the answer were no"
	literal  = "sh is dash on Debian and Ubuntu: it takes it as plain text, and goes on"
	empty    = "sh is dash on Debian and Ubuntu: it is empty there"
)

// construct is something of bash, and what dash makes of it.
type construct struct{ name, effect string }

// bashUnderSh: what a POSIX shell does not know, each construct once.
func bashUnderSh(g *group, v *view) []mistake {
	if v.file == nil || !v.posix || v.reexec || g.world.Sh == "bash" && v.script.RunBy == BySh {
		return nil
	}
	var out []mistake
	seen := map[string]bool{}
	syntax.Walk(v.file, func(n syntax.Node) bool {
		if n == nil {
			return true
		}
		if c := constructOf(n); c.name != "" && !seen[c.name] {
			seen[c.name] = true
			out = append(out, mistake{line: int(n.Pos().Line()), what: c.name + " is bash, but sh runs the script", why: c.effect})
		}
		return true
	})
	if len(out) > 0 {
		return out
	}
	var lang syntax.LangError // what the list above does not have
	_, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(bytes.NewReader(v.script.Content), "")
	if errors.As(err, &lang) && lang.Feature != "" {
		out = append(out, mistake{line: int(lang.Pos.Line()), what: "sh runs the script, but not every sh has: " + lang.Feature})
	}
	return out
}

func constructOf(n syntax.Node) construct {
	switch x := n.(type) {
	case *syntax.TestClause:
		return construct{"[[ ]]", notFound}
	case *syntax.ArithmCmd:
		return construct{"(( ))", notFound}
	case *syntax.ArrayExpr:
		return construct{"an array", stops}
	case *syntax.ProcSubst:
		return construct{"<( )", stops}
	case *syntax.CStyleLoop:
		return construct{"for (( ))", stops}
	case *syntax.LetClause:
		return construct{"let", notFound}
	case *syntax.CoprocClause:
		return construct{"coproc", notFound}
	case *syntax.ExtGlob:
		return construct{"a pattern such as @( )", stops}
	case *syntax.FuncDecl:
		if x.RsrvWord {
			return construct{"the word function", stops}
		}
	case *syntax.DeclClause:
		if x.Variant != nil && (x.Variant.Value == "declare" || x.Variant.Value == "typeset") {
			return construct{"declare", notFound}
		}
	case *syntax.BinaryCmd:
		if x.Op == syntax.PipeAll {
			return construct{"|&", stops}
		}
	case *syntax.Assign:
		if x.Append {
			return construct{"+=", notFound}
		}
	case *syntax.SglQuoted:
		if x.Dollar {
			return construct{"$'...'", literal}
		}
	case *syntax.Redirect:
		return redirectOf(x)
	case *syntax.ParamExp:
		return paramOf(x)
	case *syntax.CallExpr:
		return callOf(x)
	}
	return construct{}
}

func redirectOf(r *syntax.Redirect) construct {
	switch r.Op {
	case syntax.RdrAll, syntax.AppAll:
		return construct{"&>", "sh is dash on Debian and Ubuntu: it puts the command into the background, and goes on before it has done anything"}
	case syntax.WordHdoc:
		return construct{"<<<", stops}
	}
	return construct{}
}

func paramOf(p *syntax.ParamExp) construct {
	stopped := "sh is dash on Debian and Ubuntu: it stops there with \"Bad substitution\""
	switch {
	case p.Slice != nil || p.Repl != nil || p.Excl || p.Index != nil:
		return construct{"${...} with parts, replacements or an index", stopped}
	case p.Exp != nil && slices.Contains([]syntax.ParExpOperator{syntax.UpperFirst, syntax.UpperAll, syntax.LowerFirst, syntax.LowerAll}, p.Exp.Op):
		return construct{"${...} with a change of case", stopped}
	case p.Param != nil && slices.Contains([]string{"BASH_SOURCE", "PIPESTATUS", "RANDOM", "EUID", "SECONDS", "FUNCNAME", "HOSTNAME", "BASHPID"}, p.Param.Value):
		return construct{"$" + p.Param.Value, empty}
	}
	return construct{}
}

// callOf knows the commands and options that only bash has.
func callOf(x *syntax.CallExpr) construct {
	if len(x.Args) == 0 {
		return construct{}
	}
	var words []string
	for _, a := range x.Args {
		words = append(words, a.Lit())
	}
	has := func(option string) bool { return slices.Contains(words[1:], option) }
	switch name := words[0]; name {
	case "source", "shopt", "mapfile", "readarray", "pushd", "popd", "disown", "caller":
		return construct{name, notFound}
	case "set":
		if i := slices.Index(words, "pipefail"); i > 0 {
			return construct{"set -o pipefail", "sh is dash on Debian and Ubuntu: its older versions stop there with \"Illegal option\""}
		}
		if len(words) > 1 && strings.HasPrefix(words[1], "-") && strings.ContainsAny(words[1], "ET") {
			return construct{"set -E", "sh is dash on Debian and Ubuntu: it stops there with \"Illegal option\", or takes it for another one"}
		}
	case "trap":
		if has("ERR") || has("DEBUG") || has("RETURN") {
			return construct{"trap ... ERR", "sh is dash on Debian and Ubuntu: it says \"bad trap\", and the handler never runs"}
		}
	case "read":
		if has("-t") || has("-a") || has("-n") || has("-u") || has("-d") {
			return construct{"read with -t, -a, -n, -u or -d", "sh is dash on Debian and Ubuntu: it says \"Illegal option\", and nothing is read"}
		}
	case "echo":
		if has("-e") {
			return construct{"echo -e", literal}
		}
	case "[", "test":
		if has("==") {
			return construct{"== in [ ]", "sh is dash on Debian and Ubuntu: it says \"unexpected operator\", and goes on as if the answer were no"}
		}
	}
	return construct{}
}
