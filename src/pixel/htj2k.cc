#include "pixel/htj2k.h"

#include <cstdio>
#include <cstring>
#include <new>
#include <openjph/ojph_arch.h>
#include <openjph/ojph_codestream.h>
#include <openjph/ojph_file.h>
#include <openjph/ojph_mem.h>
#include <openjph/ojph_message.h>
#include <openjph/ojph_params.h>

namespace
{

struct stopped {
};

struct broken {
    const char *what;
};

/* The library prints what it has to say, then throws two words; its own way to take the texts
 * elsewhere, configure_error(), copies a base class over another and changes nothing (0.9.0). */
struct quiet {
    quiet()
    {
        ojph::set_error_stream(nullptr);
        ojph::set_warning_stream(nullptr);
        ojph::set_info_stream(nullptr);
    }
};

const quiet once; // for the whole process, before main

class sink : public ojph::outfile_base
{
  public:
    sink(htj2k_write *w, void *c) : to(w), ctx(c), written(0)
    {
    }

    size_t write(const void *p, size_t n) override
    {
        if (to(ctx, p, n) != 0) {
            throw stopped();
        }
        written += n;
        return n;
    }

    ojph::si64 tell() override
    {
        return static_cast<ojph::si64>(written);
    }

    void close() override
    {
    }

  private:
    htj2k_write *to;
    void        *ctx;
    size_t       written;
};

void read(const htj2k *h, const void *stream, size_t len, htj2k_row *row, void *ctx)
{
    ojph::mem_infile in;
    in.open(static_cast<const ojph::ui8 *>(stream), len);
    ojph::codestream cs;
    cs.read_headers(&in);
    cs.restrict_input_resolution(h->reduce, h->reduce);
    ojph::param_siz siz = cs.access_siz();
    if (siz.get_num_components() != h->samples) {
        throw broken{"another number of components"};
    }
    for (ojph::ui32 c = 0; c < h->samples; c++) {
        if (siz.get_recon_width(c) != h->cols || siz.get_recon_height(c) != h->rows) {
            throw broken{"another size"};
        }
    }
    cs.set_planar(false);
    cs.create();
    for (ojph::ui32 y = 0; y < h->rows; y++) {
        for (ojph::ui32 c = 0; c < h->samples; c++) {
            ojph::ui32      at = 0;
            ojph::line_buf *line = cs.pull(at);
            if (line == nullptr || at != c || line->size < h->cols) {
                throw broken{"a row is missing"};
            }
            if (row(ctx, y, c, line->i32) != 0) {
                throw stopped();
            }
        }
    }
    cs.close();
}

void make(const htj2k *h, htj2k_row *row, htj2k_write *write, void *ctx)
{
    sink             out(write, ctx);
    ojph::codestream cs;
    ojph::param_siz  siz = cs.access_siz();
    siz.set_image_extent(ojph::point(h->cols, h->rows));
    siz.set_num_components(h->samples);
    for (ojph::ui32 c = 0; c < h->samples; c++) {
        siz.set_component(c, ojph::point(1, 1), h->bits, h->is_signed != 0);
    }
    siz.set_image_offset(ojph::point(0, 0));
    siz.set_tile_size(ojph::size(h->cols, h->rows));
    siz.set_tile_offset(ojph::point(0, 0));
    ojph::param_cod cod = cs.access_cod();
    cod.set_num_decomposition(h->levels);
    cod.set_block_dims(64, 64);
    cod.set_progression_order("RPCL");
    cod.set_color_transform(h->mct != 0);
    cod.set_reversible(true);
    cs.set_planar(false);
    cs.write_headers(&out);
    ojph::ui32      next = 0;
    ojph::line_buf *line = cs.exchange(nullptr, next);
    for (ojph::ui32 y = 0; y < h->rows; y++) {
        for (ojph::ui32 c = 0; c < h->samples; c++) {
            if (line == nullptr || next != c || row(ctx, y, c, line->i32) != 0) {
                throw stopped();
            }
            line = cs.exchange(line, next);
        }
    }
    cs.flush();
    cs.close();
}

template <typename F> enum htj2k_rc fenced(F f, char *why)
{
    try {
        why[0] = 0;
        f();
        return HTJ2K_OK;
    } catch (const std::bad_alloc &) {
        return HTJ2K_NOMEM;
    } catch (const broken &x) {
        (void)snprintf(why, HTJ2K_WHY, "%s", x.what);
    } catch (const stopped &) {
        (void)snprintf(why, HTJ2K_WHY, "stopped");
    } catch (...) {
        (void)snprintf(why, HTJ2K_WHY, "the library refuses the stream");
    }
    return HTJ2K_BROKEN;
}

} // namespace

enum htj2k_rc htj2k_read(const struct htj2k *h, const void *stream, size_t len, htj2k_row *row,
                         void *ctx, char *why)
{
    return fenced([&] { read(h, stream, len, row, ctx); }, why);
}

enum htj2k_rc htj2k_make(const struct htj2k *h, htj2k_row *row, htj2k_write *write, void *ctx,
                         char *why)
{
    return fenced([&] { make(h, row, write, ctx); }, why);
}
