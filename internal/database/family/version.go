package family

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a server's release number. Those of different products cannot be compared.
type Version struct{ Major, Minor, Patch int }

// V makes a version.
func V(major, minor, patch int) Version { return Version{major, minor, patch} }

// ParseVersion reads what VERSION() says: "10.11.19-MariaDB-0+deb12u1-log", "8.0.36-28.1", "5.5.5-10.3.1-MariaDB".
func ParseVersion(text string) (Version, error) {
	// MariaDB 10 said it was 5.5.5 so that old replicas talk to it; some proxies still pass that on
	text = strings.TrimPrefix(text, "5.5.5-")
	numbers, _, _ := strings.Cut(text, "-")
	var out Version
	into := []*int{&out.Major, &out.Minor, &out.Patch}
	for i, part := range strings.SplitN(numbers, ".", 3) {
		n, err := strconv.Atoi(leadingDigits(part))
		if err != nil {
			return Version{}, fmt.Errorf("cannot read the server version %q", text)
		}
		*into[i] = n
	}
	return out, nil
}

func leadingDigits(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return s
	}
	return s[:end]
}

// AtLeast reports whether v is other or newer.
func (v Version) AtLeast(other Version) bool {
	if v.Major != other.Major {
		return v.Major > other.Major
	}
	if v.Minor != other.Minor {
		return v.Minor > other.Minor
	}
	return v.Patch >= other.Patch
}

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }
