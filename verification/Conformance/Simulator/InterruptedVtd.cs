using IommuSim;
using static Conformance.Simulator.RawVtd;

namespace Conformance.Simulator;

/// <summary>A machine in which something happens once in the midst of an access.</summary>
public abstract class InterruptedVtd
{
    /// <summary>Just before which step.</summary>
    private protected SimStep At { get; set; }

    /// <summary>What; null: nothing, or it has happened.</summary>
    private protected Action? Then { get; set; }

    private protected RawVtd Interrupted(VtdOptions? options = null)
    {
        var vtd = new RawVtd(options, (step, _) =>
        {
            if (step != At || Then is not { } action) return;
            Then = null;
            action();
        });
        vtd.SetPage(1, FrameA | ReadWrite);
        return vtd;
    }
}
