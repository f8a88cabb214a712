package scripts

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// longestShebang is what the kernel reads of a first line.
const longestShebang = 255

// command is how a script is run: by the interpreter of its first line, as the kernel would, whether or not it has an exec bit, and by
// sh where there is none. Azure's own host runs everything with sh, which is dash on Debian: Bash scripts fail half way there.
func (s script) command() ([]string, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s script: %w", s.phase, err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, longestShebang)).ReadString('\n')
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("cannot read the %s script: %w", s.phase, err)
	}
	return append(append(interpreter(line), s.path), s.params...), nil
}

// interpreter reads a first line. What stands behind the program is one argument, as for the kernel.
func interpreter(line string) []string {
	line, is := strings.CutPrefix(line, "#!")
	program, argument, _ := strings.Cut(strings.TrimSpace(line), " ")
	if at := strings.IndexByte(program, '\t'); at >= 0 {
		program, argument = program[:at], program[at:]+" "+argument
	}
	if !is || program == "" {
		return []string{"/bin/sh"}
	}
	if argument = strings.TrimSpace(argument); argument != "" {
		return []string{program, argument}
	}
	return []string{program}
}
