namespace IommuSim.Machinery;

/// <summary>What became of a record that the hardware had to leave for software.</summary>
internal enum RecordOutcome : byte
{
    /// <summary>Software finds it.</summary>
    Kept,

    /// <summary>There was no room: it is lost, and from now on software is told that records are.</summary>
    Overflowed,

    /// <summary>It is lost, as software is told already.</summary>
    Lost,

    /// <summary>No memory is where it was to go: it is lost, and from now on software is told of that.</summary>
    Aborted,
}
