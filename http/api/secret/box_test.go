package secret_test

import (
	"bytes"
	"testing"

	"github.com/matrixon/matrixon/http/api/secret"
)

func TestBox(t *testing.T) {
	t.Parallel()
	box, err := secret.NewBox(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := secret.NewBox(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.NewBox(make([]byte, 31)); err == nil {
		t.Error("a box of a short secret")
	}
	sealed, err := box.Seal("a", map[string]string{"k": "v"})
	if err != nil {
		t.Fatal(err)
	}
	again, err := box.Seal("a", map[string]string{"k": "v"})
	if err != nil || again == sealed {
		t.Errorf("two seals of the same are the same, %v", err)
	}
	var got map[string]string
	if !box.Open("a", sealed, &got) || got["k"] != "v" {
		t.Errorf("opened: %v", got)
	}
	changed := []byte(sealed)
	changed[len(changed)/2] ^= 1
	for name, ok := range map[string]bool{
		"another purpose": box.Open("b", sealed, &got), "another server": other.Open("a", sealed, &got), "changed": box.Open("a", string(changed), &got),
		"cut": box.Open("a", sealed[:10], &got), "empty": box.Open("a", "", &got), "no base64": box.Open("a", "%%", &got),
	} {
		if ok {
			t.Errorf("%s: opened", name)
		}
	}
}
