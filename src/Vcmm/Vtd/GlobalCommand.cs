using Platform;

namespace Vcmm.Vtd;

/// <summary>The global command register: one command at a time, done when the status register says so.</summary>
/// <remarks>
/// <b>Threads.</b> Any number at once. <b>Source.</b> VT-d specification, "Global Command Register": a write gives the lasting
/// bits as they are, changes one, and is followed by no other until the status shows the change.
/// </remarks>
internal sealed class GlobalCommand(IMmio registers, IWaitPolicy policy)
{
    [LockRank(LockRank.Command)]
    private readonly object _gate = new();

    public bool IsSet(uint bit) => (registers.Read32(VtdRegisters.GlobalStatus) & bit) != 0;

    public bool TrySet(uint bit)
    {
        lock (_gate)
        {
            registers.Write32(VtdRegisters.GlobalCommand, Lasting() | bit);
            return policy.TryWaitForBits(registers, VtdRegisters.GlobalStatus, bit, set: true);
        }
    }

    public bool TryClear(uint bit)
    {
        lock (_gate)
        {
            registers.Write32(VtdRegisters.GlobalCommand, Lasting() & ~bit);
            return policy.TryWaitForBits(registers, VtdRegisters.GlobalStatus, bit, set: false);
        }
    }

    private uint Lasting() => registers.Read32(VtdRegisters.GlobalStatus) & VtdRegisters.LastingCommands;
}
