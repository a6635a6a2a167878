package xmatrix

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	want := Header{Origin: "origin.example:8448", Destination: "example.org", Key: "ed25519:a", Signature: "AB+/="}
	for name, text := range map[string]string{
		"as we write it":      want.String(),
		"unquoted":            `X-Matrix origin=origin.example:8448,destination=example.org,key=ed25519:a,sig=AB+/=`,
		"another order":       `X-Matrix sig="AB+/=",key="ed25519:a",destination="example.org",origin="origin.example:8448"`,
		"any case":            `x-matrix ORIGIN="origin.example:8448",Destination=example.org,Key="ed25519:a",sIg="AB+/="`,
		"spaces and tabs":     "X-Matrix    origin=\"origin.example:8448\" \t, \t destination=example.org ,key=\"ed25519:a\"\t,\tsig=\"AB+/=\"  ",
		"backslashes":         `X-Matrix origin="origin\.example:8448",destination="\e\x\ample.org",key="ed25519:a",sig="AB+\/="`,
		"unknown parameters":  `X-Matrix colour="a,b=c\"d",origin="origin.example:8448",destination=example.org,x=y,key="ed25519:a",sig="AB+/="`,
		"empty elements":      `X-Matrix ,origin="origin.example:8448",,destination=example.org,key="ed25519:a",sig="AB+/=",`,
		"signature in full":   `X-Matrix origin="origin.example:8448",destination=example.org,key="ed25519:a",signature="AB+/="`,
		"space before equals": `X-Matrix origin = "origin.example:8448",destination= example.org,key="ed25519:a",sig="AB+/="`,
	} {
		got, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	if got, err := Parse(`X-Matrix origin=a,key=b,sig=c`); err != nil || got.Destination != "" {
		t.Errorf("without destination: %v %v", got, err)
	}
	for _, text := range []string{
		"", "X-Matrix", "Bearer abc", "X-Matrix origin", `X-Matrix origin="a`, `X-Matrix origin="a\`, `X-Matrix origin="a"key="b",sig="c"`,
		`X-Matrix origin=a,key=b`, `X-Matrix origin=a,sig=b`, `X-Matrix key=a,sig=b`, `X-Matrix origin=,key=a,sig=b`,
		`X-Matrix origin=a,origin=b,key=c,sig=d`, `X-Matrix origin=a b,key=c,sig=d`, `X-Matrix =a,origin=a,key=c,sig=d`,
		`X-Matrixorigin=a,key=b,sig=c`,
	} {
		if h, err := Parse(text); err == nil {
			t.Errorf("%q is taken for %v", text, h)
		}
	}
}

func TestSigned(t *testing.T) {
	t.Parallel()
	got, err := Signed("PUT", "/_matrix/federation/v1/send/1?x=%21a", "a.example", "b.example", []byte(`{ "b": 1.5, "a": "\u00e9" }`))
	if want := `{"content":{"a":"é","b":1.5},"destination":"b.example","method":"PUT","origin":"a.example","uri":"/_matrix/federation/v1/send/1?x=%21a"}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
	got, err = Signed("GET", "/x", "a", "b", nil)
	if want := `{"destination":"b","method":"GET","origin":"a","uri":"/x"}`; err != nil || string(got) != want {
		t.Errorf("%s %v", got, err)
	}
	if _, err := Signed("PUT", "/x", "a", "b", []byte(`{"a":1,"a":2}`)); err == nil {
		t.Error("a body that can be read in two ways is signed")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Header{"a", "b", "c", "d"}.String())
	f.Add(`X-Matrix origin="a\"b",key=c,sig=d`)
	f.Fuzz(func(_ *testing.T, text string) { _, _ = Parse(text) })
}
