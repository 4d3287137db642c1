using Vcmm.Spec;

namespace Harness.Generating;

// Banks of memory.
internal sealed partial class OperationWriter
{
    /// <summary>The types of memory that there are; none: it is not told apart.</summary>
    private readonly int[] _types;

    /// <summary>From which banks: where there are several mostly from some, and now and then from one that there is not.</summary>
    private BankRequest From()
    {
        if (_types.Length == 0) return Rarely() ? new(MustBeCoherent: true) : default;
        if (Rarely()) return new(7);
        return new(_pcg.Next(2) == 0 ? One(_types) : null, _pcg.Next(6) == 0);
    }
}
