package picture

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math/rand/v2"
	"testing"
)

// What is written is as near to the planes as what the standard library writes of them, and takes no more.
func TestCompress(t *testing.T) {
	t.Parallel()
	for _, size := range []image.Point{{1, 1}, {8, 8}, {16, 16}, {17, 9}, {15, 33}, {320, 240}, {641, 479}} {
		for _, grain := range []float64{0, 3, 60} {
			img := image.NewRGBA(image.Rectangle{Max: size})
			scene(img, grain)
			planes := shrinkYCbCr(planesOf(t, encoded(t, img, 95)), img.Rect, size.X, size.Y)
			ours, theirs := compress(planes), encoded(t, planes, quality)
			if got, want := distance(planes, planesOf(t, ours)), distance(planes, planesOf(t, theirs)); got > want*1.05+0.1 {
				t.Errorf("%v with grain %v is %.2f off, not %.2f", size, grain, got, want)
			}
			if len(ours) > len(theirs)+len(theirs)/100 {
				t.Errorf("%v with grain %v takes %d, not %d", size, grain, len(ours), len(theirs))
			}
		}
	}
}

func planesOf(t *testing.T, raw []byte) *image.YCbCr {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return img.(*image.YCbCr)
}

// distance is the mean squared difference of the samples of two pictures with half the colours each way.
func distance(a, b *image.YCbCr) float64 {
	sum, n := 0, 0
	plane := func(a, b []byte, aStride, bStride, w, h int) {
		for y := range h {
			for x := range w {
				d := int(a[y*aStride+x]) - int(b[y*bStride+x])
				sum, n = sum+d*d, n+1
			}
		}
	}
	w, h := a.Rect.Dx(), a.Rect.Dy()
	plane(a.Y, b.Y, a.YStride, b.YStride, w, h)
	plane(a.Cb, b.Cb, a.CStride, b.CStride, ceil(w, 2), ceil(h, 2))
	plane(a.Cr, b.Cr, a.CStride, b.CStride, ceil(w, 2), ceil(h, 2))
	return float64(sum) / float64(n)
}

// The hardest pictures: every sample black or white, one or the other by chance.
func TestCompressExtremes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	planes := image.NewYCbCr(image.Rect(0, 0, 67, 35), image.YCbCrSubsampleRatio420)
	for _, plane := range [][]byte{planes.Y, planes.Cb, planes.Cr} {
		for i := range plane {
			plane[i] = byte(rng.IntN(2) * 255)
		}
	}
	if got, want := distance(planes, planesOf(t, compress(planes))), distance(planes, planesOf(t, encoded(t, planes, quality))); got > want*1.02 {
		t.Errorf("%.1f off, not %.1f", got, want)
	}
}

// Each pixel is the mean of the area that it covers, however many there are.
func TestMeans(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same each time
	for _, c := range []struct{ w, h, width, height int }{
		{1, 1, 1, 1}, {7, 5, 7, 5}, {8, 8, 4, 4}, {9, 7, 4, 3}, {100, 80, 33, 27}, {40, 300, 20, 1}, {700, 3, 1, 3}, {1000, 600, 3, 2},
	} {
		img := image.NewNRGBA(image.Rect(0, 0, c.w, c.h))
		for i := range img.Pix {
			img.Pix[i] = byte(rng.IntN(256)) | byte(i%4/3*255) // opaque
		}
		off := 1 + float64(c.h/c.height)/50 // the weights are 256ths
		small := painted(shrink(img, img.Rect, c.width, c.height))
		for y := range c.height {
			for x := range c.width {
				var sum [3]float64
				all := 0.0
				for fy := y * c.h / c.height; fy*c.height < (y+1)*c.h; fy++ {
					for fx := x * c.w / c.width; fx*c.width < (x+1)*c.w; fx++ {
						part := float64(min((fx+1)*c.width, (x+1)*c.w)-max(fx*c.width, x*c.w)) *
							float64(min((fy+1)*c.height, (y+1)*c.h)-max(fy*c.height, y*c.h))
						p := img.NRGBAAt(fx, fy)
						sum[0], sum[1], sum[2], all = sum[0]+part*float64(p.R), sum[1]+part*float64(p.G), sum[2]+part*float64(p.B), all+part
					}
				}
				got := small.RGBAAt(x, y)
				for i, v := range []uint8{got.R, got.G, got.B} {
					if want := sum[i] / all; float64(v) < want-off || float64(v) > want+off {
						t.Fatalf("%+v at %d, %d: %d, want %.1f", c, x, y, v, want)
					}
				}
				if got.A != 255 {
					t.Fatalf("%+v at %d, %d: alpha %d", c, x, y, got.A)
				}
			}
		}
	}
}

// What is white stays white, and black black.
func TestExtremesStay(t *testing.T) {
	t.Parallel()
	for _, c := range []color.Gray{{0}, {255}} {
		img := image.NewGray(image.Rect(0, 0, 999, 501))
		for i := range img.Pix {
			img.Pix[i] = c.Y
		}
		for i, v := range shrink(img, img.Rect, 77, 39).(*image.RGBA).Pix {
			if i%4 < 3 && v != c.Y {
				t.Fatalf("%d became %d", c.Y, v)
			}
		}
	}
}
