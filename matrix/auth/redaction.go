package auth

import (
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/id"
)

// AppliesRedaction reports whether a redaction takes effect on its target, given the power levels at the redaction (rooms/v3,
// "Handling redactions"). In room versions 1 and 2 the auth rules have decided.
func AppliesRedaction(redaction, target *event.Event, levels *PowerLevels) bool {
	if redaction.Version().RedactionAuthRule {
		return true
	}
	return !levels.User(redaction.Sender()).Less(levels.Redact()) || id.ServerOf(redaction.Sender()) == id.ServerOf(target.Sender())
}
