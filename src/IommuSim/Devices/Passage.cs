using Platform;

namespace IommuSim.Devices;

/// <summary>What a unit says to an access. Given by reference and written field by field: it is made for each page that is moved.</summary>
internal struct Passage
{
    /// <summary>Where the access goes, good to the end of the 4 KiB page; meaningless if it does not go on.</summary>
    public PhysAddr Address;

    /// <summary>For <see cref="RemappingUnit{TSteps}.EndAccess"/>, if it goes on.</summary>
    public int Slot;

    /// <summary>Why it does not go on.</summary>
    public FaultCode Fault;

    /// <summary>Whether it is an interrupt request, which is taken and reaches no memory.</summary>
    public bool IsInterrupt;
}
