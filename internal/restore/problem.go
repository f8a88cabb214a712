package restore

import "strings"

// Problem is one reason why a plan is refused, with what a person can do.
type Problem struct {
	Text string
	Help string
}

func (p Problem) Error() string { return p.Text }

// Hint says what to do.
func (p Problem) Hint() string { return p.Help }

// Refusal is all the reasons at once. Nothing was touched.
type Refusal struct {
	What     string
	Problems []Problem
}

func (r *Refusal) Error() string {
	if len(r.Problems) == 1 {
		return "cannot " + r.What + ": " + r.Problems[0].Text
	}
	lines := make([]string, 0, len(r.Problems))
	for _, p := range r.Problems {
		lines = append(lines, "\n  "+p.Text)
	}
	return "cannot " + r.What + ", for these reasons:" + strings.Join(lines, "")
}

// Hint joins what to do about each.
func (r *Refusal) Hint() string {
	var out []string
	for _, p := range r.Problems {
		if p.Help != "" {
			out = append(out, p.Help)
		}
	}
	return strings.Join(out, "; ")
}
