package retain

import "github.com/holdstill/holdstill/internal/catalog"

// grade is how good a point is to have.
type grade int

const (
	unsound     grade = iota // its verification failed, or nobody knows what it is
	crash                    // as after a power cut
	filesystem               // frozen file systems
	application              // the server was held
	stored                   // application, and in the repository
	grades      int   = iota
)

func (g grade) String() string {
	return [grades]string{"of no proven use", "crash-consistent", "filesystem-consistent", "application-consistent",
		"application-consistent and in the repository"}[g]
}

// consistency grades the point itself, wherever it lies.
func consistency(p *catalog.Point) grade {
	if p.Verified != nil && !p.Verified.OK {
		return unsound
	}
	switch p.Consistency {
	case catalog.Application:
		return application
	case catalog.Filesystem:
		return filesystem
	case catalog.Crash:
		return crash
	}
	return unsound
}

// inRepository asks for the status too: a shipment that is under way may already have its id.
func inRepository(p *catalog.Point) bool {
	return (p.Status == catalog.Shipped || p.Status == catalog.Verified) && p.Repository != nil
}
