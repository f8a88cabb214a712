package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const dictionary = "/usr/share/dict/words"

// words are those of the system's dictionary.
func words() ([]string, error) {
	content, err := os.ReadFile(dictionary)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the writer needs a dictionary in %s: install the package wamerican", dictionary)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the dictionary: %w", err)
	}
	list := strings.Fields(string(content))
	if len(list) == 0 {
		return nil, fmt.Errorf("the dictionary %s is empty", dictionary)
	}
	return list, nil
}
