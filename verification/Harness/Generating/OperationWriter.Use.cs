using CsCheck;
using Harness.Operations;
using Vcmm.Spec;

namespace Harness.Generating;

// What devices used and wrote to. These steps come between the others, from a stream of their own: those are the same without them.
internal sealed partial class OperationWriter
{
    private const ulong UseStream = 0xD127_B175;

    private readonly PCG _use;

    /// <summary>A step between two others; null: none.</summary>
    public Step? Between()
    {
        // Where nothing is noted there is but one answer.
        if (_reservations.Count == 0 || _next.Count != 0 || _use.Next(_isScalable ? 4u : 80) != 0) return null;
        int index = _reservations.FindLastIndex(reservation => reservation.Memory is not null);
        if (index < 0 || _use.Next(4) == 0) index = (int)_use.Next((uint)_reservations.Count);
        Reserved reservation = _reservations[index];
        uint pages = (uint)Math.Max(1, reservation.ByteCount / Page);
        (ulong offset, ulong byteCount) = (0, Math.Max(Page, reservation.ByteCount));
        // Of a large leaf a part, mostly: it is told as a whole.
        if (_use.Next(pages >= Large / Page ? 8u : 2) != 1)
        {
            uint count = 1 + _use.Next(Math.Min(pages, 4));
            (offset, byteCount) = (Page * (_use.Next(2) == 0 ? pages - count : _use.Next(pages - count + 1)), Page * count);
        }

        if (_use.Next(40) == 0) offset += 0x800;
        var collect = new CollectUse(reservation.Id, offset, byteCount, _use.Next(3) == 0 ? Use.Accessed : Use.Written, _use.Next(3) != 0);
        bool fails = collect.Clears && _shape.HardwareFails && _use.Next(1000) < _shape.MishapsPerMille;
        return new(collect, fails ? new Mishap(MishapKind.Hardware, 1) : null);
    }
}
