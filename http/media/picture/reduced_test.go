package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"
)

// scene draws waves, edges and grain.
func scene(img interface {
	image.Image
	Set(x, y int, c color.Color)
}, grain float64,
) {
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			light := func(phase float64) uint8 {
				v := 128 + 70*math.Sin(float64(x)/19+phase)*math.Cos(float64(y)/13) + 30*float64((x/40+y/40)%2) + rng.NormFloat64()*grain
				return uint8(min(max(v, 0), 255))
			}
			img.Set(x, y, color.RGBA{light(0), light(1), light(2), 0xff})
		}
	}
}

func encoded(t testing.TB, img image.Image, quality int) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := jpeg.Encode(&out, img, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// difference is the mean difference of the pixels of two pictures of the same size.
func difference(t *testing.T, a, b *image.RGBA) float64 {
	t.Helper()
	if a.Rect != b.Rect {
		t.Fatalf("%v and %v", a.Rect, b.Rect)
	}
	sum := 0
	for i := range a.Pix {
		d := int(a.Pix[i]) - int(b.Pix[i])
		sum += max(d, -d)
	}
	return float64(sum) / float64(len(a.Pix))
}

// What is decoded at a part of its size is what comes of the whole, but for what the eye does not see.
func TestReduced(t *testing.T) {
	t.Parallel()
	for _, size := range []image.Point{{640, 480}, {641, 479}, {17, 9}, {8, 8}, {1, 1}, {300, 16}} {
		colours, grey := image.NewRGBA(image.Rectangle{Max: size}), image.NewGray(image.Rectangle{Max: size})
		scene(colours, 3)
		scene(grey, 3)
		for _, img := range []image.Image{colours, grey} {
			raw := encoded(t, img, 90)
			whole, err := jpeg.Decode(bytes.NewReader(raw))
			if err != nil {
				t.Fatal(err)
			}
			for _, side := range []int{4, 2, 1} {
				small, err := reduce(bytes.NewReader(raw), side)
				if err != nil {
					t.Fatalf("%v at %d/8: %v", size, side, err)
				}
				w, h := ceil(size.X*side, 8), ceil(size.Y*side, 8)
				if small.Rect.Dx() != w || small.Rect.Dy() != h {
					t.Fatalf("%v at %d/8 is %v", size, side, small.Rect)
				}
				if size.X < 8 || size.Y < 8 {
					continue // half a block says nothing
				}
				most := 6.
				if size.X%8 != 0 || size.Y%8 != 0 {
					most = 10 // the last blocks reach beyond the picture, so that all is a little further to the left
				}
				if d := difference(t, painted(shrink(small, small.Rect, w, h)), painted(shrink(whole, whole.Bounds(), w, h))); d > most {
					t.Errorf("%v at %d/8 differs by %.1f", size, side, d)
				}
			}
		}
	}
}

// A thumbnail is as large as it would be of the whole picture, whatever part of the picture is decoded.
func TestReducedThumbnails(t *testing.T) {
	t.Parallel()
	img := image.NewRGBA(image.Rect(0, 0, 1003, 777))
	scene(img, 3)
	raw := encoded(t, img, 90)
	r := bytes.NewReader(raw)
	info, err := Inspect(r)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := jpeg.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Size{{Width: 32, Height: 32, Crop: true}, {Width: 96, Height: 60, Crop: true}, {Width: 320, Height: 240}, {Width: 500, Height: 400},
		{Width: 900, Height: 700}, {Width: 240, Height: 480, Crop: true}} {
		got, err := s.still(r, info)
		if err != nil {
			t.Fatal(err)
		}
		part, w, h := s.fit(whole.Bounds())
		if d := difference(t, painted(got), painted(shrink(whole, part, w, h))); d > 8 {
			t.Errorf("%+v differs by %.1f", s, d)
		}
	}
}

// Restart markers are taken in their order.
func TestReducedRestarts(t *testing.T) {
	t.Parallel()
	// Two grey blocks with a restart between them, each of one bit for "no difference" and one for "nothing follows".
	table := func(class byte) []byte { return append([]byte{0xff, 0xc4, 0, 20, class, 1}, make([]byte, 16)...) }
	quantization := append([]byte{0xff, 0xdb, 0, 67, 0}, bytes.Repeat([]byte{1}, 64)...)
	picture := func(scan ...byte) []byte {
		return bytes.Join([][]byte{{0xff, 0xd8}, quantization, table(0), table(0x10), {0xff, 0xdd, 0, 4, 0, 1},
			{0xff, 0xc0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0}, {0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0}, scan, {0xff, 0xd9}}, nil)
	}
	img, err := reduce(bytes.NewReader(picture(0x3f, 0xff, 0xd0, 0x3f)), 4)
	if err != nil || img.Rect.Dx() != 8 || img.Y[0] != 128 {
		t.Errorf("%v, %v", img, err)
	}
	for _, scan := range [][]byte{{0x3f, 0xff, 0xd1, 0x3f}, {0x3f, 0x3f}, {0x3f}, {0x3f, 0xff, 0xd0}, {0x3f, 0xff, 0xd0, 0x3f, 0x3f}} {
		if _, err := reduce(bytes.NewReader(picture(scan...)), 4); err == nil {
			t.Errorf("% x is taken", scan)
		}
	}
}

// Whatever comes is decoded as a picture of its size, or left to the standard library.
func FuzzReduced(f *testing.F) {
	img := image.NewRGBA(image.Rect(0, 0, 40, 24))
	scene(img, 10)
	for _, quality := range []int{20, 95} {
		raw := encoded(f, img, quality)
		f.Add(raw)
		f.Add(raw[:len(raw)-20])
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, err := Inspect(bytes.NewReader(raw))
		if err != nil || info.Type != JPEG || pixels(info) > 1<<20 {
			return
		}
		for _, side := range []int{4, 2, 1} {
			small, err := reduce(bytes.NewReader(raw), side)
			if err != nil {
				continue
			}
			shrink(small, small.Rect, small.Rect.Dx(), small.Rect.Dy())
			if _, err := jpeg.Decode(bytes.NewReader(raw)); err != nil {
				t.Errorf("the standard library says of what was taken: %v", err)
			}
		}
	})
}
