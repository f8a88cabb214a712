package kopia

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestErrorsHaveNoTokens(t *testing.T) {
	for _, text := range []string{`Get "https://a.blob.core.windows.net/c?comp=list&sig=Zorro%2F3&sv=1": refused`, "?SIG=Zorro", "x&sig=Zorro/3= more", "signature=Zorro"} {
		err := discreetly(fmt.Errorf("%s: %w", text, io.ErrUnexpectedEOF))
		if strings.Contains(err.Error(), "Zorro") || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
	}
	if err := io.EOF; discreetly(err) != err || discreetly(nil) != nil {
		t.Error("an error without a secret is changed")
	}
	if design := errors.New("design=3"); discreetly(design).Error() != "design=3" {
		t.Error(discreetly(design))
	}
}
