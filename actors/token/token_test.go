package token

import (
	"errors"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

func TestSyncTokensComeBack(t *testing.T) {
	t.Parallel()
	n := rapid.Uint64()
	rapid.Check(t, func(t *rapid.T) {
		want := Sync{Pos: n.Draw(t, "pos"), ToDevice: n.Draw(t, "to device"), Epoch: n.Draw(t, "epoch"), Ephemeral: n.Draw(t, "ephemeral")}
		got, err := ParseSync(want.String())
		if err != nil || got != want {
			t.Fatalf("%s: %+v, %v; want %+v", want, got, err, want)
		}
		if !IsSync(want.String()) {
			t.Fatalf("%s is no sync token", want)
		}
	})
}

func TestTimelineTokensComeBack(t *testing.T) {
	t.Parallel()
	for _, seq := range []uint64{0, 1, 17, math.MaxUint64 - 1, math.MaxUint64} {
		want := Timeline{Seq: seq}
		got, err := ParseTimeline(want.String())
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", want, got, err)
		}
		if IsSync(want.String()) {
			t.Errorf("%s is taken for a sync token", want)
		}
	}
}

// Clients may put anything in the place of a token; it is refused with the specification's error and never quoted at length.
func TestOtherTokensAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "m1_", "m1_1", "m1_1_2_3", "m1_1_2_3_4_5", "m1_1_2_3_", "m1__2_3_4", "m1_-1_2_3_4", "m1_+1_2_3_4", "m1_1_2_3_0x4", "m1_1.0_2_3_4",
		"m1_ 1_2_3_4", "m1_18446744073709551616_2_3_4", "M1_1_2_3_4", "m2_1_2_3_4", "s72594_4483_1934", "t1_", "t1_1_2_3", "t1_1_", "t1_-1", "t1_18446744073709551616",
		"t2_1", "\x00", "m1_\xff_2_3_4", "t1_١", strings.Repeat("m1_", 1<<16),
	} {
		_, sync := ParseSync(s)
		_, timeline := ParseTimeline(s)
		for _, err := range []error{sync, timeline} {
			var e *mxerr.Error
			if !errors.As(err, &e) || e.Status != 400 || e.Code != "M_INVALID_PARAM" || len(e.Message) > 500 {
				t.Errorf("%.40q: %v", s, err)
			}
		}
	}
}

// FuzzTokens checks that what is read says the same when it is written again.
func FuzzTokens(f *testing.F) {
	for _, s := range []string{"m1_1_2_3_4", "t1_17", "m1_18446744073709551615_0_0_0", "m1_01_2_3_4", "t1_", "m1____"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if token, err := ParseSync(s); err == nil {
			if again, err := ParseSync(token.String()); err != nil || again != token || !IsSync(s) {
				t.Fatalf("%q: %+v, then %+v, %v", s, token, again, err)
			}
		}
		if token, err := ParseTimeline(s); err == nil {
			if again, err := ParseTimeline(token.String()); err != nil || again != token || IsSync(s) {
				t.Fatalf("%q: %+v, then %+v, %v", s, token, again, err)
			}
		}
	})
}
