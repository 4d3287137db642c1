using Vcmm.Spec;

namespace Harness.Generating;

// Banks of memory.
internal sealed partial class OperationWriter
{
    private readonly bool _hasBanks;

    /// <summary>From which banks: where there are several mostly from some, and now and then from one that there is not.</summary>
    private BankRequest From()
    {
        if (!_hasBanks) return Rarely() ? new(MustBeCoherent: true) : default;
        if (Rarely()) return new(7);
        return new(_pcg.Next(2) == 0 ? (int)_pcg.Next(2) : null, _pcg.Next(4) == 0);
    }
}
