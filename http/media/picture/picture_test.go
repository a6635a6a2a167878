package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// corners is a picture with another colour in each corner: red, green; blue, white.
func corners(w, h int) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, cornerColor(x < w/2, y < h/2))
		}
	}
	return img
}

var (
	red, green  = color.RGBA{0xff, 0, 0, 0xff}, color.RGBA{0, 0xff, 0, 0xff}
	blue, white = color.RGBA{0, 0, 0xff, 0xff}, color.RGBA{0xff, 0xff, 0xff, 0xff}
)

func cornerColor(left, top bool) color.RGBA {
	switch {
	case left && top:
		return red
	case top:
		return green
	case left:
		return blue
	}
	return white
}

func asJPEG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func asPNG(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// asGIF is an animation of frames that have one colour each.
func asGIF(t testing.TB, w, h int, colors ...color.RGBA) []byte {
	t.Helper()
	g := &gif.GIF{LoopCount: 3}
	for _, c := range colors {
		frame := image.NewPaletted(image.Rect(0, 0, w, h), color.Palette{color.RGBA{1, 2, 3, 0xff}, c})
		for i := range frame.Pix {
			frame.Pix[i] = 1
		}
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 7)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// exif puts an orientation into a JPEG.
func exif(file []byte, orientation uint16) []byte {
	tiff := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01")
	tiff = append(binary.BigEndian.AppendUint16(tiff, orientation), 0, 0, 0, 0, 0, 0)
	segment := append([]byte{0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(tiff)+2))...)
	return append(append([]byte{0xff, 0xd8}, append(segment, tiff...)...), file[2:]...)
}

func workshop() *Workshop { return NewWorkshop(Limits{MaxPixels: 10_000_000, Memory: 64 << 20}) }

func thumbnail(t *testing.T, file []byte, s Size) (*Thumbnail, image.Image) {
	t.Helper()
	info, err := Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	made, err := workshop().Thumbnail(t.Context(), bytes.NewReader(file), info, s)
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := image.Decode(bytes.NewReader(made.Data))
	if err != nil {
		t.Fatal(err)
	}
	if img.Bounds().Dx() != made.Width || img.Bounds().Dy() != made.Height {
		t.Errorf("it is %v, and says %d×%d", img.Bounds(), made.Width, made.Height)
	}
	return made, img
}

// looks fails the test unless the colour is about this.
func looks(t *testing.T, img image.Image, x, y int, want color.RGBA) {
	t.Helper()
	r, g, b, _ := img.At(x, y).RGBA()
	for _, d := range [][2]int{{int(r >> 8), int(want.R)}, {int(g >> 8), int(want.G)}, {int(b >> 8), int(want.B)}} {
		if math.Abs(float64(d[0]-d[1])) > 24 {
			t.Errorf("at %d,%d: %v, want %v", x, y, img.At(x, y), want)
			return
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		w, h         int
		size         Size
		wantW, wantH int
	}{
		"wide":                    {400, 200, Size{Width: 100, Height: 100}, 100, 50},
		"high":                    {200, 400, Size{Width: 100, Height: 100}, 50, 100},
		"small":                   {30, 20, Size{Width: 100, Height: 100}, 30, 20},
		"thin":                    {4000, 1, Size{Width: 100, Height: 100}, 100, 1},
		"crop":                    {400, 200, Size{Width: 100, Height: 100, Crop: true}, 100, 100},
		"crop, high":              {200, 400, Size{Width: 60, Height: 30, Crop: true}, 60, 30},
		"crop, small":             {50, 400, Size{Width: 96, Height: 96, Crop: true}, 50, 50},
		"crop, small in one side": {400, 50, Size{Width: 96, Height: 96, Crop: true}, 50, 50},
		"a little smaller":        {101, 99, Size{Width: 100, Height: 100}, 100, 98},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, file := range [][]byte{asJPEG(t, corners(test.w, test.h)), asPNG(t, corners(test.w, test.h))} {
				made, _ := thumbnail(t, file, test.size)
				if made.Width != test.wantW || made.Height != test.wantH {
					t.Errorf("%d×%d, want %d×%d", made.Width, made.Height, test.wantW, test.wantH)
				}
			}
		})
	}
}

func TestColorsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	grey := image.NewGray(image.Rect(0, 0, 200, 100))
	for i := range grey.Pix {
		grey.Pix[i] = 0x80
	}
	_, img := thumbnail(t, asJPEG(t, grey), Size{Width: 50, Height: 50})
	looks(t, img, 20, 20, color.RGBA{0x80, 0x80, 0x80, 0xff})
	deep := image.NewNRGBA64(image.Rect(0, 0, 300, 300))
	for i := range deep.Pix {
		deep.Pix[i] = 0xff
	}
	made, img := thumbnail(t, asPNG(t, deep), Size{Width: 50, Height: 50})
	looks(t, img, 20, 20, white)
	if made.Type != JPEG {
		t.Errorf("an opaque picture became %s", made.Type)
	}
	for _, side := range []int{300, 301, 1000} { // even boxes and uneven ones
		for _, file := range [][]byte{asJPEG(t, corners(side, side)), asPNG(t, corners(side, side))} {
			_, img := thumbnail(t, file, Size{Width: 100, Height: 100})
			for _, left := range []bool{true, false} {
				for _, top := range []bool{true, false} {
					at := map[bool]int{true: 20, false: 80}
					looks(t, img, at[left], at[top], cornerColor(left, top))
				}
			}
		}
	}
}

func TestTransparencyStays(t *testing.T) {
	t.Parallel()
	img := corners(400, 400)
	for y := range 200 {
		for x := range 200 {
			img.Set(x, y, color.Transparent)
		}
	}
	made, small := thumbnail(t, asPNG(t, img), Size{Width: 100, Height: 100})
	if made.Type != PNG {
		t.Fatalf("it became %s", made.Type)
	}
	if _, _, _, a := small.At(20, 20).RGBA(); a != 0 {
		t.Errorf("the transparent corner has alpha %d", a)
	}
	looks(t, small, 80, 80, white)
}

func TestOrientation(t *testing.T) {
	t.Parallel()
	// What stands at the left top, right top, left bottom and right bottom of the picture as it is to be seen.
	for orientation, want := range map[uint16][4]color.RGBA{
		1: {red, green, blue, white}, 2: {green, red, white, blue}, 3: {white, blue, green, red}, 4: {blue, white, red, green},
		5: {red, blue, green, white}, 6: {blue, red, white, green}, 7: {white, green, blue, red}, 8: {green, white, red, blue},
		0: {red, green, blue, white}, 9: {red, green, blue, white},
	} {
		file := exif(asJPEG(t, corners(400, 200)), orientation)
		info, err := Inspect(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		w, h := 400, 200
		if orientation >= 5 && orientation <= 8 {
			w, h = h, w
		}
		if info.Width != w || info.Height != h {
			t.Errorf("%d: %d×%d", orientation, info.Width, info.Height)
		}
		_, img := thumbnail(t, file, Size{Width: 100, Height: 100})
		w, h = w/4, h/4
		if img.Bounds().Dx() != w || img.Bounds().Dy() != h {
			t.Errorf("%d: thumbnail %v", orientation, img.Bounds())
		}
		for i, at := range []image.Point{{5, 5}, {w - 6, 5}, {5, h - 6}, {w - 6, h - 6}} {
			looks(t, img, at.X, at.Y, want[i])
		}
	}
}

func TestAnimation(t *testing.T) {
	t.Parallel()
	file := asGIF(t, 300, 200, red, green, blue)
	info, err := Inspect(bytes.NewReader(file))
	if err != nil || info.Type != GIF || !info.Animated || info.Width != 300 || info.Height != 200 {
		t.Fatalf("%+v, %v", info, err)
	}
	made, err := workshop().Thumbnail(t.Context(), bytes.NewReader(file), info, Size{Width: 96, Height: 96, Crop: true, Animated: true})
	if err != nil || made.Type != GIF {
		t.Fatalf("%+v, %v", made, err)
	}
	moving, err := gif.DecodeAll(bytes.NewReader(made.Data))
	if err != nil {
		t.Fatal(err)
	}
	if len(moving.Image) != 3 || moving.LoopCount != 3 || moving.Delay[1] != 7 || moving.Config.Width != 96 {
		t.Errorf("%d frames of %d, loops %d, delays %v", len(moving.Image), moving.Config.Width, moving.LoopCount, moving.Delay)
	}
	for i, want := range []color.RGBA{red, green, blue} {
		looks(t, moving.Image[i], 48, 48, want)
	}
	still, img := thumbnail(t, file, Size{Width: 96, Height: 96, Crop: true})
	if still.Type != JPEG {
		t.Errorf("a still became %s", still.Type)
	}
	looks(t, img, 48, 48, red)
}

func TestBlurHash(t *testing.T) {
	t.Parallel()
	file := asPNG(t, corners(200, 200))
	info, err := Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := workshop().BlurHash(t.Context(), bytes.NewReader(file), info)
	if err != nil || len(hash) != 28 || hash[0] != 'L' { // 4 × 3 components
		t.Errorf("%q, %v", hash, err)
	}
	// The middle colour, and the largest of the waves, which a picture of one colour has hardly any of.
	plain := image.NewRGBA(image.Rect(0, 0, 200, 200))
	for i := range plain.Pix {
		plain.Pix[i] = []byte{0x12, 0x80, 0xff, 0xff}[i%4]
	}
	if got := blurHash(plain); decode83(got[2:6]) != 0x1280ff || decode83(got[1:2]) > 3 {
		t.Errorf("one colour: %q has %x, %d", got, decode83(got[2:6]), decode83(got[1:2]))
	}
	if decode83(hash[1:2]) < 20 {
		t.Errorf("four colours: %q has no waves", hash)
	}
}

func decode83(s string) (value int) {
	for _, c := range s {
		value = value*83 + strings.IndexRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~", c)
	}
	return value
}

func TestBombs(t *testing.T) {
	t.Parallel()
	header := func(w, h uint32, depth, kind byte) []byte {
		ihdr := []byte("IHDR")
		ihdr = binary.BigEndian.AppendUint32(ihdr, w)
		ihdr = binary.BigEndian.AppendUint32(ihdr, h)
		ihdr = append(ihdr, depth, kind, 0, 0, 0)
		file := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
		file = binary.BigEndian.AppendUint32(file, crc32.ChecksumIEEE(ihdr))
		return append(file, "\x00\x00\x00\x00IDAT"...)
	}
	wide := asGIF(t, 10, 10, red)
	binary.LittleEndian.PutUint16(wide[6:], 65535)
	binary.LittleEndian.PutUint16(wide[8:], 65535)
	huge := asJPEG(t, corners(16, 16))
	at := bytes.Index(huge, []byte{0xff, 0xc0})
	binary.BigEndian.PutUint16(huge[at+5:], 10_000)
	binary.BigEndian.PutUint16(huge[at+7:], 10_000)
	for name, file := range map[string][]byte{
		"100 megapixels": header(10_000, 10_000, 8, 2), "wide": header(2_000_000, 1, 8, 2), "deep": header(3000, 3000, 16, 6),
		"negative": header(0xffffffff, 0xffffffff, 8, 2), "canvas": wide, "JPEG": huge,
	} {
		info, err := Inspect(bytes.NewReader(file))
		if err == nil {
			_, err = workshop().Thumbnail(t.Context(), bytes.NewReader(file), info, Size{Width: 32, Height: 32, Animated: true})
		}
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What has too many frames, or too large ones, to be kept moving is shown as it begins.
func TestLongAnimations(t *testing.T) {
	t.Parallel()
	red := slices.Repeat([]color.RGBA{red}, maxFrames+1)
	narrow := NewWorkshop(Limits{MaxPixels: 10_000_000, Memory: least + 100_000})
	for name, file := range map[string][]byte{"many": asGIF(t, 20, 20, red...), "large": asGIF(t, 100, 100, red[:20]...)} {
		r := bytes.NewReader(file)
		info, err := Inspect(r)
		if err != nil || !info.Animated {
			t.Fatalf("%s: %+v, %v", name, info, err)
		}
		made, err := narrow.Thumbnail(t.Context(), r, info, Size{Width: 10, Height: 10, Animated: true})
		if err != nil || made.Type == GIF || made.Width != 10 || made.Height != 10 {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
	}
}

// PNG and WebP say how they are to be turned in a chunk of their own, before the picture and behind it.
func TestOrientationOutsideOfJPEG(t *testing.T) {
	t.Parallel()
	const turned = "MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
	file := asPNG(t, corners(400, 200))
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(len(turned))), "eXIf"+turned...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
	const header = 8 + 25
	_, img := thumbnail(t, slices.Concat(file[:header], chunk, file[header:]), Size{Width: 100, Height: 100})
	if img.Bounds().Dx() != 50 || img.Bounds().Dy() != 100 {
		t.Errorf("%v", img.Bounds())
	}
	for i, at := range []image.Point{{5, 5}, {44, 5}, {5, 94}, {44, 94}} {
		looks(t, img, at.X, at.Y, []color.RGBA{blue, red, white, green}[i])
	}

	webp := func(flags byte, chunks ...string) []byte {
		return []byte("RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00" + string(flags) + "\x00\x00\x00\x8f\x01\x00\xc7\x00\x00" + strings.Join(chunks, ""))
	}
	const frame, meta = "VP8 \x03\x00\x00\x00abc\x00", "EXIF\x1a\x00\x00\x00"
	for name, c := range map[string]struct {
		file   []byte
		turned bool
	}{
		"turned":         {webp(8, frame, meta, turned), true},
		"as JPEG has it": {webp(8, frame, "EXIF\x20\x00\x00\x00Exif\x00\x00", turned), true},
		"not announced":  {webp(0, frame, meta, turned), false},
		"not there":      {webp(8, frame), false},
		"broken off":     {webp(8, frame, meta, turned[:9]), false},
		"too large":      {webp(8, "VP8 \xff\xff\xff\xff"), false},
		"empty":          {webp(8, "EXIF\x00\x00\x00\x00"), false},
	} {
		info, err := Inspect(bytes.NewReader(c.file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if (info.Width == 200) != c.turned || info.Width+info.Height != 600 {
			t.Errorf("%s: %d × %d", name, info.Width, info.Height)
		}
	}
}

// A scan costs as much as the picture, however short it is.
func TestScansWithoutEnd(t *testing.T) {
	t.Parallel()
	file := asJPEG(t, corners(64, 64))
	at, end := bytes.LastIndex(file, []byte{0xff, 0xda}), len(file)-2
	for n, want := range map[int]error{1: nil, 10: nil, 1000: ErrNoPicture, 50_000: ErrNoPicture} {
		long := slices.Concat(file[:at], bytes.Repeat(file[at:end], n), file[end:])
		info, err := Inspect(bytes.NewReader(long))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := workshop().Thumbnail(t.Context(), bytes.NewReader(long), info, Size{Width: 32, Height: 32}); !errors.Is(err, want) {
			t.Errorf("%d scans: %v", n, err)
		}
	}
}

func TestWhatIsNoPicture(t *testing.T) {
	t.Parallel()
	whole := asJPEG(t, corners(300, 300))
	files := map[string][]byte{
		"nothing": nil, "text": []byte("hello, this is no picture at all"), "SVG": []byte(`<svg xmlns="http://www.w3.org/2000/svg"/>`),
		"a magic": []byte("\xff\xd8\xff"), "another": []byte("GIF89a"), "PNG": []byte("\x89PNG\r\n\x1a\n"), "RIFF": []byte("RIFF\x00\x00\x00\x00WEBP"),
		"RIFF, sound": []byte("RIFF\x24\x00\x00\x00WAVEfmt "), "half a JPEG": whole[:200], "half a PNG": asPNG(t, corners(300, 300))[:50],
		"half a GIF": asGIF(t, 300, 300, red, green)[:100],
	}
	for name, file := range files {
		info, err := Inspect(bytes.NewReader(file))
		if err == nil {
			_, err = workshop().Thumbnail(t.Context(), bytes.NewReader(file), info, Size{Width: 32, Height: 32})
		}
		if !errors.Is(err, ErrNoPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAStoreThatFails: an error of the store is not taken for a damaged picture.
func TestAStoreThatFails(t *testing.T) {
	t.Parallel()
	file := asPNG(t, corners(300, 300))
	info, err := Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	_, err = workshop().Thumbnail(t.Context(), failing{bytes.NewReader(file)}, info, Size{Width: 32, Height: 32})
	if !errors.Is(err, iotest.ErrTimeout) || errors.Is(err, ErrNoPicture) {
		t.Errorf("%v", err)
	}
}

type failing struct{ *bytes.Reader }

func (f failing) Read([]byte) (int, error) { return 0, iotest.ErrTimeout }

func TestWaitingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := NewWorkshop(Limits{MaxPixels: 1e6, Memory: 64 << 20, Workers: 1})
	if err := w.workers.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := asPNG(t, corners(30, 30))
	info, err := Inspect(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Thumbnail(ctx, bytes.NewReader(file), info, Size{Width: 3, Height: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func FuzzThumbnail(f *testing.F) {
	f.Add(asPNG(f, corners(20, 30)))
	f.Add(exif(asJPEG(f, corners(20, 30)), 6))
	f.Add(asGIF(f, 20, 30, red, green))
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88\xfe\x07\x00"))
	w := NewWorkshop(Limits{MaxPixels: 1e6, Memory: 32 << 20})
	f.Fuzz(func(t *testing.T, file []byte) {
		info, err := Inspect(bytes.NewReader(file))
		if err != nil {
			return
		}
		for _, s := range []Size{{Width: 16, Height: 16, Crop: true}, {Width: 8, Height: 24, Animated: true}} {
			made, err := w.Thumbnail(t.Context(), bytes.NewReader(file), info, s)
			if err == nil && (made.Width < 1 || made.Height < 1 || made.Width > s.Width || made.Height > s.Height || len(made.Data) == 0) {
				t.Errorf("%+v of %+v", made, s)
			}
		}
	})
}

// A picture of about 1 MB, as telephones take them: with smooth parts, edges and noise.
func BenchmarkThumbnail(b *testing.B) {
	const w, h = 2016, 1512
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y := range h {
		for x := range w {
			light := 128 + 60*math.Sin(float64(x)/90)*math.Cos(float64(y)/70) + 20*float64((x/50+y/50)%2) + rng.NormFloat64()*9
			img.Y[img.YOffset(x, y)] = uint8(min(max(light, 0), 255))
			img.Cb[img.COffset(x, y)], img.Cr[img.COffset(x, y)] = uint8(128+40*math.Sin(float64(x)/200)), uint8(128+40*math.Cos(float64(y)/150))
		}
	}
	file := encoded(b, img, 86)
	shop := NewWorkshop(Limits{MaxPixels: 50e6, Memory: 256 << 20})
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		r := bytes.NewReader(file)
		info, err := Inspect(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := shop.Thumbnail(b.Context(), r, info, Size{Width: 800, Height: 600}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(processorTime(b)-before)/1e6/float64(b.N), "cpu-ms/picture")
}

// processorTime is what the process has taken, which other processes disturb less than the clock.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
