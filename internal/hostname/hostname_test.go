package hostname

import (
	"os"
	"testing"
)

func TestName(t *testing.T) {
	t.Setenv(Variable, "")
	kernel, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if Name() != kernel {
		t.Errorf("%q, the kernel says %q", Name(), kernel)
	}
	t.Setenv(Variable, "db-1.example.org")
	if Name() != "db-1.example.org" || Check() != nil {
		t.Errorf("%q: %v", Name(), Check())
	}
	for _, bad := range []string{"a b", "a@b", "a:/b", "-a", "a\n"} {
		t.Setenv(Variable, bad)
		if Check() == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}
