package entry

import "crypto/rand"

// randomID is the localpart of an event id of room versions 1 and 2, where its server chooses it.
func randomID() string { return rand.Text() }
